"""What to do with a record whose function raises: given to any operator as ``on_error``.

``SystemExit``, ``KeyboardInterrupt`` and the like always fail the job: a policy speaks of exceptions. The outputs of a
failing call are withheld, and what it wrote to keyed state is undone; changes of the function's own attributes are not.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sage.core.engine.dead_letter import DeadLetter, read_dead_letters
from sage.core.graph.policy import ErrorPolicy

__all__ = ["DeadLetter", "ErrorPolicy", "dead_letter", "fail", "read_dead_letters", "retry", "skip"]


def fail() -> ErrorPolicy:
    """The job fails. The default."""
    return ErrorPolicy()


def skip(*, at_most: int | None = None, ratio: float | None = None) -> ErrorPolicy:
    """The record is left out, counted and listed.

    Args:
        at_most: how many records may be left out; one more fails the job.
        ratio: which share of the records may be left out, from 0 to 1.
    """
    return ErrorPolicy("skip", at_most=at_most, ratio=ratio)


def dead_letter(
    file: str | os.PathLike[str] | None = None, *, at_most: int | None = None, ratio: float | None = None
) -> ErrorPolicy:
    """The record goes to the stream's ``dead_letters``, or to a file, as a `DeadLetter`.

    Args:
        file: append there, one JSON object a line; see `read_dead_letters`. A relative path is relative to the folder
            that this program runs in, wherever the job runs.
        at_most, ratio: as in `skip`.
    """
    path = None if file is None else str(Path(file).absolute())
    return ErrorPolicy("dead_letter", at_most=at_most, ratio=ratio, file=path)


def retry(times: int, *, backoff: float = 0.1, then: ErrorPolicy | None = None) -> ErrorPolicy:
    """The function is called again, and only then the record is given up.

    Args:
        times: how often to call again.
        backoff: seconds before the first retry; doubled before each further one, up to a minute.
        then: what to do with a record that still fails; by default the job fails.
    """
    if then is not None and not isinstance(then, ErrorPolicy):  # told at submit, with the line
        return ErrorPolicy(then, retries=times, backoff=backoff)
    return replace(then or fail(), retries=times, backoff=backoff)
