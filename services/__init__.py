"""The three services. They never import one another: they meet in Redis, HTTP and the volume."""
