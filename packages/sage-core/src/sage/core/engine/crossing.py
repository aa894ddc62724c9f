"""Where records leave a host: what goes wrong there is told in terms of the operator that has made them."""

from __future__ import annotations

from collections.abc import Callable

from sage.core.engine.events import TaskEvent
from sage.core.engine.failures import OperatorError, RunsUserCode
from sage.core.engine.links import Link
from sage.core.engine.messages import Batch, Message, Unreadable
from sage.core.errors import TransferError
from sage.core.plan.model import TaskId

__all__ = ["CollectLink", "Crossing", "unreadable"]


class Crossing:
    """A link to another host that names the operator whose records cannot travel.

    Args:
        link: the backend's.
        operator: whose records it takes.
    """

    def __init__(self, link: Link, operator: RunsUserCode) -> None:
        self._link = link
        self._operator = operator
        self.on_credit = link.on_credit

    def offer(self, message: Message) -> bool:
        """Raises `OperatorError`: a record of the message cannot be sent."""
        try:
            return self._link.offer(message)
        except TransferError as error:
            raise _untransferable(error, message, self._operator) from error


class CollectLink:
    """The way of collected records to the coordinator: as events, which need no credits.

    Args:
        task: that sends them.
        operator: the sink.
        events: where to.
    """

    def __init__(self, task: TaskId, operator: RunsUserCode, events: Callable[[TaskEvent], None]) -> None:
        self._task = task
        self._operator = operator
        self._events = events

    def on_credit(self, callback: Callable[[], None]) -> None:
        """There is always one."""

    def offer(self, message: Message) -> bool:
        """Raises `OperatorError`: a record of the message cannot be sent."""
        if isinstance(message, Batch):
            try:
                self._events(TaskEvent(self._task, "collected", uid=self._operator.spec.uid, records=message.records))
            except TransferError as error:
                raise _untransferable(error, message, self._operator) from error
        return True


def _untransferable(error: TransferError, message: Message, operator: RunsUserCode) -> OperatorError:
    index = error.index
    known = isinstance(message, Batch) and index is not None and index < len(message.records)
    record = message.records[index] if isinstance(message, Batch) and index is not None and known else None
    return OperatorError(operator, "send", error, None, record=record, has_record=known)


def unreadable(message: Unreadable) -> TransferError:
    """What is wrong where something from another process cannot be rebuilt."""
    return TransferError(
        f"what was sent cannot be read in this process: {message.reason}",
        hint="classes of records are imported there under their module and name: define them in a module, or at the"
        " top of the script, and not while the job runs",
    )
