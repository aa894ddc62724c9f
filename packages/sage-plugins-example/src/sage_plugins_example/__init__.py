"""A third-party package for SAGE, laid out as an outsider would lay it out: outside the namespace `sage`."""
