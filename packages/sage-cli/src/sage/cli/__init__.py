"""The sage command."""
