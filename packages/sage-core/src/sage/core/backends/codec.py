"""What crosses from one process to another, as bytes: messages of tasks, and what they and the coordinator say."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sage.core.engine.events import Command, TaskEvent
from sage.core.engine.messages import Batch, Message, Unreadable
from sage.core.errors import TransferError
from sage.core.models import FailureInfo

__all__ = ["OUT_OF_BAND", "Buffers", "decode", "decode_event", "encode", "encode_event"]

OUT_OF_BAND = 1 << 16
"""Bytes from which on a buffer, of an array say, is given apart from the pickle, not copied into it."""

Buffers = Sequence[Any]
"""Contiguous memory, as anything that has the buffer protocol."""


def encode(message: Message | Command) -> tuple[bytes, Buffers]:
    """A message as a pickle (protocol 5, by reference), and the large buffers that belong to it.

    Raises:
        TransferError: a record cannot be pickled; it says which, and the way to the part of it that cannot be.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        """Returns whether it goes into the pickle."""
        raw = buffer.raw()
        if raw.nbytes < OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    try:
        return pickle.dumps(message, 5, buffer_callback=keep), buffers
    except BaseException as error:  # whatever the user's classes raise, SystemExit included
        raise _untransferable(message.records if isinstance(message, Batch) else (), error) from error


def decode(data: Any, buffers: Buffers = ()) -> Any:
    """The message again. What cannot be rebuilt here becomes one that fails the task that takes it, in its turn.

    Args:
        data: the pickle.
        buffers: in order; what is rebuilt goes on using them, and lets go of them when it is gone. They should be
            writable, since records are their receiver's to change.
    """
    try:
        return pickle.loads(data, buffers=buffers)  # noqa: S301 - written by another process of this very job
    except BaseException as error:  # whatever the user's classes raise, SystemExit included
        return Unreadable(f"{type(error).__name__}: {error}")


def encode_event(event: TaskEvent) -> bytes:
    """A task's event for a coordinator in another process. An exception that does not pickle is left out.

    Raises:
        TransferError: a record that was collected cannot be pickled.
    """
    error = b""
    if event.error is not None:
        with suppress(BaseException):  # its description goes all the same
            error = pickle.dumps(event.error, 5)
    try:
        records = pickle.dumps(event.records, 5) if event.records else b""
    except BaseException as problem:  # whatever the user's classes raise, SystemExit included
        raise _untransferable(event.records, problem) from problem
    return pickle.dumps((replace(event, error=None, records=()), records, error), 5)


def decode_event(data: Any) -> TaskEvent:
    """The event again; without its exception, if that cannot be rebuilt here.

    If records that were collected cannot be, it is an event that fails their task.
    """
    event: TaskEvent
    event, records, error = pickle.loads(data)  # noqa: S301 - written by another process of this very job
    if records:
        try:
            return replace(event, records=pickle.loads(records))  # noqa: S301
        except BaseException as problem:  # whatever the user's classes raise, SystemExit included
            message = f"what '{event.uid}' has collected cannot be read in this process: {_told(problem)}"
            return TaskEvent(event.task, "failed", failure=FailureInfo("user_code", message, uid=event.uid))
    with suppress(BaseException):  # its description has come all the same
        return replace(event, error=pickle.loads(error)) if error else event  # noqa: S301
    return event


def _untransferable(records: Sequence[Any], error: BaseException) -> TransferError:
    """What cannot be pickled, looked for after the fact: records are many, and mistakes are few."""
    from sage.core.client._unpicklable import find_culprit

    index = next((number for number, record in enumerate(records) if _trial(record) is not None), None)
    if index is None:
        return TransferError(f"what is to be sent to another process cannot be pickled: {_told(error)}")
    culprit = find_culprit(records[index], "record", _trial)
    reason, path = (_told(error), "record") if culprit is None else (culprit.reason, culprit.path)
    part = "it" if path == "record" else f"{path} of it"
    return TransferError(
        f"a record ({type(records[index]).__qualname__}) cannot be sent to another process: {part} cannot be pickled:"
        f" {reason}",
        hint="records that go from one process to another have to be picklable, their classes found under their module"
        " and name",
        path=path,
        index=index,
    )


def _trial(value: Any) -> BaseException | None:
    try:
        pickle.dumps(value, 5, buffer_callback=_discard)
    except BaseException as error:  # whatever the user's classes raise, SystemExit included
        return error
    return None


def _discard(buffer: pickle.PickleBuffer) -> None:
    """What an array holds need not be copied to know that it can be."""


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
