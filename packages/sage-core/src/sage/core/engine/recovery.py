"""Applies an operator's error policy: calls again, gives a record up, and keeps the books."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from sage.core.engine.dead_letter import DeadLetter, DeadLetterFile
from sage.core.engine.failures import OperatorError, describe_failure, headline, trace_of, users_frames
from sage.core.errors import BudgetSpentError
from sage.core.graph.policy import DEAD_LETTERS, ErrorPolicy
from sage.core.models import FailureInfo

if TYPE_CHECKING:
    from sage.core.engine.operators.base import RunningOperator

__all__ = ["GIVEN_UP", "Recovery", "quits"]

_LISTED = 100
_RATIO_FROM = 100
_LONGEST_BACKOFF = 60.0


class _GivenUp:
    """What `Recovery` answers for a record that goes no further; false, so that a filter drops it."""

    def __bool__(self) -> bool:
        return False


GIVEN_UP: Final = _GivenUp()


def quits(error: BaseException) -> bool:
    """Whether somebody left the debugger, in which case no record is at fault."""
    bdb = sys.modules.get("bdb")
    return bdb is not None and isinstance(error, bdb.BdbQuit)


class Recovery:
    """The error policy of one operator in one subtask.

    Args:
        policy: what was asked for.
        operator: whose.
        pause: waits so many seconds; False if the task was cancelled meanwhile.

    Attributes:
        retried, skipped, dead_lettered: calls made again, records left out, records sent as dead letters.
        listed: the newest failures of records that were given up.
    """

    def __init__(self, policy: ErrorPolicy, operator: RunningOperator, pause: Callable[[float], bool]) -> None:
        self.retried = 0
        self.skipped = 0
        self.dead_lettered = 0
        self.listed: deque[FailureInfo] = deque(maxlen=_LISTED)
        self._policy = policy
        self._operator = operator
        self._pause = pause
        self._last: BaseException | None = None
        self._file = DeadLetterFile(policy.file) if policy.file is not None else None

    @property
    def given_up(self) -> int:
        return self.skipped + self.dead_lettered

    def __call__(self, error: Exception, record: Any, call: Callable[..., Any], *args: Any) -> Any:
        """Deal with ``error``, raised by ``call(*args)`` for ``record``.

        Returns:
            the result of a call that succeeded in the end, or `GIVEN_UP`.

        Raises:
            Exception: the last error, where the policy says so.
            BudgetSpentError: one record too many was given up.
        """
        result, last = self.retry(error, call, *args)
        if last is None:
            return result
        self.give_up(last, record)
        return GIVEN_UP

    def retry(self, error: Exception, call: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
        """Call again, as often as the policy allows. Returns what the last call has returned, and what it has raised.

        Raises:
            Exception: the last error, if the task is to end.
        """
        self._operator.forget_call()
        for backoff in self.backoffs():
            if quits(error) or not self._pause(backoff):  # or the task is being cancelled
                raise error
            self.retried += 1
            try:
                return call(*args), None
            except Exception as again:
                error = again
                self._operator.forget_call()
        return None, error

    def backoffs(self) -> Iterator[float]:
        """Seconds to wait before each call that the policy allows after the first."""
        backoff = self._policy.backoff
        for _ in range(self._policy.retries):
            yield backoff
            backoff = min(backoff * 2, _LONGEST_BACKOFF)

    def give_up(self, error: BaseException, record: Any) -> None:
        """Go on without ``record``, where the policy says so: calling again would make no difference.

        Raises:
            BaseException: ``error``, where the policy is to fail.
            BudgetSpentError: one record too many was given up.
        """
        if self._policy.then == "fail" or quits(error):
            raise error
        wrapped = OperatorError(
            self._operator, "execute", error, users_frames(trace_of(error)), record=record, has_record=True
        )
        failure = describe_failure(wrapped, subtask=self._operator.context.subtask)
        self.listed.append(failure)
        self._last = error
        count = self._operator.weight(record)
        if self._policy.then == "skip":
            self.skipped += count
        else:
            self.dead_lettered += count
            letter = DeadLetter.of(record, failure)
            if self._file is not None:
                self._file.write(letter)
            else:
                self._operator.context.side_output(DEAD_LETTERS, letter)
        if self._policy.at_most is not None and self.given_up > self._policy.at_most:
            raise self._budget_spent(f"{self._policy.at_most:,} at most are allowed") from error

    def check_ratio(self, *, at_end: bool = False) -> None:
        """Fail where too large a share of the records was given up.

        Raises:
            BudgetSpentError: it was.
        """
        ratio, operator = self._policy.ratio, self._operator
        seen = operator.records_in or operator.records_out + self.given_up  # a source takes nothing in
        if ratio is not None and seen and (at_end or seen >= _RATIO_FROM) and self.given_up > ratio * seen:
            raise self._budget_spent(f"a share of {ratio:g} of {seen:,} is allowed") from self._last

    def _budget_spent(self, allowed: str) -> BudgetSpentError:
        assert self._last is not None
        count, newest = self.given_up, self.listed[-1]
        given_up = "1 record was given up" if count == 1 else f"{count:,} records were given up"
        return BudgetSpentError(
            f"{given_up}, {allowed}; the newest is {newest.record}: {headline(self._last)}",
            hint="mend what fails, or allow more: at_most=… or ratio=… of skip() and dead_letter()",
        )

    def open(self) -> None:
        """Open the file of dead letters, if there is to be one. Raises `OSError`."""
        if self._file is not None:
            self._file.open()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
