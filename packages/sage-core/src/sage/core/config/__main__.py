"""``python -m sage.core.config`` prints the reference page of the configuration."""

from __future__ import annotations

from sage.core.config.reference import reference_page

if __name__ == "__main__":
    print(reference_page(), end="")
