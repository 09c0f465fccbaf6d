"""The gateway's endpoints, one file per resource."""
