"""The model server's endpoints, one file per resource."""
