"""What runs in the sandbox's helper processes. Standard library only, because the helper has no site-packages."""
