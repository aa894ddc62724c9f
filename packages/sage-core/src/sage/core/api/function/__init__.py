"""Base classes of user functions, one per kind of operator."""
