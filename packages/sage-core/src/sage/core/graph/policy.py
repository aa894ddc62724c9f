"""What happens to a record whose function raises."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["DEAD_LETTERS", "FAIL", "ErrorPolicy", "named"]

DEAD_LETTERS = "sage.dead_letters"
"""Tag of the side output on which dead letters leave their operator."""


@dataclass(frozen=True)
class ErrorPolicy:
    """An operator's policy for exceptions of its function.

    Attributes:
        then: what to do with a record that keeps failing: ``fail`` the job, ``skip`` the record, or send a
            ``dead_letter``.
        retries: how often to call again before that.
        backoff: seconds before the first retry; doubled before each further one.
        at_most: how many records may be given up; one more fails the job. None: any number.
        ratio: which share of the records may be given up, looked at from the 100th record on and at the end.
        file: where dead letters are appended as JSON lines; None: they go to the stream's ``dead_letters``.
    """

    then: Literal["fail", "skip", "dead_letter"] = "fail"
    retries: int = 0
    backoff: float = 0.1
    at_most: int | None = None
    ratio: float | None = None
    file: str | None = None

    def problem(self) -> str | None:
        """What is wrong with these values, or None."""
        if self.then not in ("fail", "skip", "dead_letter"):
            return f"retry(…, then=…) takes fail(), skip(…) or dead_letter(…), not {named(self.then)}"
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            return f"times must be a whole number from 0, not {self.retries!r}"
        if isinstance(self.backoff, bool) or not isinstance(self.backoff, int | float) or not 0 <= self.backoff <= 3600:
            return f"backoff must be 0 to 3600 seconds, not {self.backoff!r}"
        at_most, ratio = self.at_most, self.ratio
        if at_most is not None and (isinstance(at_most, bool) or not isinstance(at_most, int) or at_most < 0):
            return f"at_most must be a whole number from 0, not {at_most!r}"
        if ratio is not None and (isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= 1):
            return f"ratio must be a number from 0 to 1, not {ratio!r}"
        return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def named(given: object) -> str:
    """What was given in place of a policy, in words that say how to make it one."""
    name = getattr(given, "__name__", None)
    return f"the function {name}: call it, {name}()" if callable(given) and name else repr(given)


FAIL = ErrorPolicy()
"""Any exception fails the job."""
