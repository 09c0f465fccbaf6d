"""The model server's endpoints, a file a subject."""
