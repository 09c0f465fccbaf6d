"""The model server: loads the promoted model, follows `models/current.json`, answers `/generate`."""
