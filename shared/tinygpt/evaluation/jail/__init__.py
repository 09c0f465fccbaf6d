"""What runs in the judge's helper processes. Standard library only: the helper has no site-packages."""
