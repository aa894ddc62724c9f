"""The contract of connectors, version 1: sources that are read in partitions, and sinks that take batches.

A connector knows its system, nothing of graphs, tasks or threads. What it promises is written at the methods; who
calls them, when, and what becomes of errors is the engine's part. A class may derive from these protocols or just
have their methods. It is given to ``env.from_connector(…)`` or ``stream.to_connector(…)`` as a class with constructor
arguments or as an instance; each subtask makes a `Source` or a `Sink` of its own, by the constructor or by a deep
copy, so that no two threads ever share one.

Any method may raise. `RecordError` says that one record is unusable: the operator's error policy applies to that
record. Whatever else is raised may be tried again where the policy says ``retry``, and then fails the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from sage.core.engine.stop import STOP, Later, StopType
from sage.core.errors import ConnectorError, RecordError

if TYPE_CHECKING:
    from sage.core.engine.context import RuntimeContext

__all__ = [
    "API_VERSION",
    "MAX_LINE_SIZE",
    "SPLIT_SIZE",
    "STOP",
    "Connector",
    "ConnectorError",
    "Delivery",
    "Later",
    "Reader",
    "RecordError",
    "Sink",
    "Source",
    "StopType",
    "is_bounded",
]

API_VERSION = 1

SPLIT_SIZE = 64 * 1024 * 1024
"""Bytes of a partition, by default, where a connector can cut what it reads."""

MAX_LINE_SIZE = 64 * 1024 * 1024
"""Bytes: by default a longer line of a file is not read, so that it takes no memory either."""

Delivery = Literal["at-least-once", "idempotent", "transactional"]
"""What a sink makes of records that are written again after a failure: they are there twice; they replace what was
written before; nothing is there before it is committed."""


@runtime_checkable
class Source(Protocol):
    """Something that can be read, in one or several partitions.

    A class may have an attribute ``bounded``: True where every partition ends. Then partitions are read one after the
    other, in order; otherwise those of a subtask are read in turn, and a job in the author's process is cancelled at
    the end of the program instead of waited for.
    """

    def partitions(self) -> Sequence[str]:
        """The names of all partitions, each unique, always in the same order.

        Called once before a job starts, on another thread than the readers' and maybe on another host. It should be
        cheap, since `submit` waits for it: list, do not read. Subtask ``k`` of ``n`` reads those whose position in
        the list leaves ``k`` when divided by ``n``. A name is all that a reader is told, so it says what to read:
        it is kept with the position, and used again when the job continues.
        """

    def open(self, partition: str, position: object | None) -> Reader:
        """Begin to read a partition.

        Args:
            partition: its name.
            position: where to go on, as a reader of this partition once gave it; None for the beginning.
        """


@runtime_checkable
class Reader(Protocol):
    """Reads one partition. All calls come from one thread, one at a time."""

    def read(self, n: int) -> list[Any] | StopType | Later | None:
        """The next records, in order: at most ``n``, and maybe fewer.

        It returns at once with what there is. What it holds back for longer than a moment delays checkpoints, and
        stopping. An empty list says that nothing came of what was read, and that there may be more at once.

        Returns:
            records, or None for "nothing yet", or `Later` for "nothing for so many seconds", or `STOP` when this
            partition has ended.

        Raises:
            RecordError: the next record is unusable. Records before it were returned by the call before; the call
                after goes on behind it.
        """

    def position(self) -> object:
        """Where the next `read` begins: behind the last record returned, or the last unusable one.

        Anything that can be pickled. It is asked for between two calls of `read`, and `Source.open` takes it.
        """

    def wait(self, timeout: float) -> None:
        """Wait for news, at most ``timeout`` seconds (always short); called after `read` has returned None.

        May return at any time: `read` is called next in any case.
        """

    def close(self) -> None:
        """Let go of what is held. Called once, however reading ended."""


@runtime_checkable
class Sink(Protocol):
    """Something that takes records. All calls come from one thread, one at a time.

    Its life: `open` → `write` … → `close`, and between them, for the delivery ``transactional``, `prepare` →
    `commit`. What a derived class leaves out does nothing.
    """

    delivery: Delivery = "at-least-once"

    def open(self, context: RuntimeContext) -> None:
        """Called once before the first record: connect, and refuse what cannot work.

        Args:
            context: among other things which subtask this is (``subtask``), and of how many (``parallelism``).
        """
        return  # else type checkers take it for abstract, here and below

    def write(self, records: list[Any]) -> None:
        """Take a batch. It may block; meanwhile the pipeline before it waits. The list is the sink's to keep.

        A batch holds what came within a moment: a single record where they come slowly, up to about a thousand where
        they come fast.

        Raises:
            RecordError: a record cannot be written.

        Whatever is raised, nothing of the batch should count as written, for under an error policy it is written
        again: after `RecordError` record by record, so that only those which fail are given up.
        """

    def prepare(self, n: int) -> object | None:
        """Make everything written so far ready for good: whatever happens from now on, `commit` must succeed.

        Args:
            n: the number of the checkpoint that this belongs to. For now it is called once, with 1, at the end of
                input.

        Returns:
            a handle that can be pickled; None if there is nothing to commit.
        """
        return None

    def commit(self, handle: object) -> None:
        """Publish what `prepare` has made ready. It comes once all sinks of the job are prepared.

        Idempotent: the same handle may come again, and to another instance.
        """
        return

    def abort(self, handle: object) -> None:
        """Give up what `prepare` has made ready. Idempotent."""
        return

    def close(self) -> None:
        """Let go of what is held. Called once, however the job ended.

        A transactional sink gives up what was not prepared: without `prepare`, the job has failed or was cancelled.
        """
        return


class Connector(Protocol):
    """What a distribution offers under one name: ``env.from_connector(name, …)``, ``stream.to_connector(name, …)``.

    Each takes its options by name. One that only reads, or only writes, leaves the other method out. A
    `ConnectorError`, `ValueError` or `TypeError` says what is wrong with the options, and is told with the line of the
    pipeline.
    """

    def source(self, **options: Any) -> Source:
        """Make what reads. It is copied for each subtask, so nothing is opened yet."""

    def sink(self, **options: Any) -> Sink:
        """Make what writes. It is copied for each subtask, so nothing is opened yet."""


def is_bounded(source: Any) -> bool:
    """Whether a source, or a class of sources, says that all of its partitions end."""
    return bool(getattr(source, "bounded", False))
