"""The gateway, the only service that clients reach. It has no torch."""
