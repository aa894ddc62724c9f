"""What went wrong before or beside the tasks, as the job's failure."""

from __future__ import annotations

import traceback

from sage.core.errors import SageError
from sage.core.models import FailureInfo

__all__ = ["describe_failure"]


def describe_failure(kind: str, error: BaseException, *, doing: str) -> FailureInfo:
    """The failure that ``error`` is.

    Args:
        kind: as in `FailureInfo`.
        doing: what was being done, to begin the message with.
    """
    # Where SAGE has wrapped an error of the user's code, that one's type tells more.
    kindred = type(error.__cause__ if isinstance(error, SageError) and error.__cause__ is not None else error)
    name, module = kindred.__qualname__, kindred.__module__
    said = str(error) if isinstance(error, SageError) else f"{name}: {_text(error)}"
    return FailureInfo(
        kind=kind,
        message=f"{doing}: {said}",
        error_type=name if module == "builtins" else f"{module}.{name}",
        traceback="".join(traceback.format_exception(error)),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # the user's class may raise anything here
        return f"(its own text cannot be had: {type(broken).__name__})"
