"""A third-party SAGE plugin."""
