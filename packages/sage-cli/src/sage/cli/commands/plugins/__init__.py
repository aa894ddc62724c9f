"""`sage plugins`."""
