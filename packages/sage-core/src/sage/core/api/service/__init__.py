"""Services: what functions call by name, one instance per host."""
