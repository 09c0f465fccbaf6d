"""The model server: loads the best checkpoint, follows `models/current.json`, answers `/generate`."""
