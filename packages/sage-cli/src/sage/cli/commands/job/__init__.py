"""`sage job`."""
