"""The gateway's endpoints, a file a resource."""
