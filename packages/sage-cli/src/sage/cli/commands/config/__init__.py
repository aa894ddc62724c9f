"""`sage config`."""
