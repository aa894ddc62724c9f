"""The logical graph: frozen data, its building and its validation."""
