"""Which line of the user's program is calling."""

from __future__ import annotations

import sys

from sage.core.graph.model import SourceLocation

__all__ = ["users_location"]


def users_location() -> SourceLocation:
    """The innermost frame that is not SAGE's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("sage.core."):
        frame = frame.f_back
    return SourceLocation(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
