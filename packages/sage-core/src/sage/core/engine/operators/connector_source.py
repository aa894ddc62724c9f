"""``read``: the partitions of a connector's source."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.functions import build_function
from sage.core.engine.operators.base import ENDED, IDLE, MORE, Emit, Flow
from sage.core.engine.operators.source import Drain, SourceOperator
from sage.core.engine.saving import load
from sage.core.engine.stop import STOP, Later, StopType
from sage.core.errors import RecordError
from sage.core.graph.model import Operator

if TYPE_CHECKING:
    from sage.core.connectors.api import Reader

__all__ = ["ConnectorSourceOperator"]


class ConnectorSourceOperator(SourceOperator):
    """Reads its share of the partitions: bounded ones one after the other, others in turn.

    The records of one `read` go through the pipeline within one step, so that between two steps the positions tell
    exactly what has been put out.

    Attributes:
        answer: what the turn that is running answers.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.answer = ENDED
        self._in_turn = not spec.options.get("bounded", False)
        self._start: Mapping[str, object] = {}
        self._left = deque(context.partitions)  # not ended; the first is read next
        self._readers: dict[str, Reader] = {}
        self._not_before: dict[str, float] = {}  # by partition that is known to have nothing until then
        self.idle_partitions: set[str] = set()
        self.ended_partitions: set[str] = set()

    def go_on_at(self, positions: Mapping[str, bytes]) -> None:
        mine = {name: positions[name] for name in self.context.partitions if name in positions}
        self._start = {name: load(position, f"the position in '{name}'") for name, position in mine.items()}
        self._left = deque(name for name in self.context.partitions if self._start.get(name) is not STOP)
        self.ended_partitions = set(self.context.partitions).difference(self._left)

    def positions(self) -> dict[str, object]:
        """By partition, where reading goes on: None for the beginning, `STOP` for nowhere."""
        found: dict[str, object] = {}
        for name in self.context.partitions:
            if name in self._readers:
                found[name] = self._readers[name].position()
            else:
                found[name] = self._start.get(name) if name in self._left else STOP
        return found

    def build(self) -> None:
        self.function = build_function(self.spec.function)

    def open(self) -> None:
        """Readers are opened when their turn comes: a source may have more partitions than may be open at once."""
        self.wait = self._wait

    def close(self) -> None:
        first: BaseException | None = None
        while self._readers:
            _, reader = self._readers.popitem()
            try:
                reader.close()
            except BaseException as error:  # raised once all were tried
                first = first or error
        if first is not None:
            raise first

    def generate_turn(self, code: Code, ticks: str, emit: Emit, drain: Drain) -> None:
        records, record = code.local("records", "()"), code.name("record")
        ahead = code.local("ahead", f"iter({records})")
        code.call(f"{records} = {code.bind('read', self.read)}(len({ticks}))", self, None)
        code.line(f"{ahead} = iter({records})")
        with code.block(f"for {record} in {ahead}:"):
            emit(Flow(record, f"len({records}) - {ahead}.__length_hint__()"))
            self.leaving_if_cancelled(code)
        drain()
        code.line(f"return {code.bind('source', self)}.answer")

    def read(self, n: int) -> list[Any]:
        """At most ``n`` records of the partition whose turn it is; `answer` says how to go on."""
        for _ in range(len(self._left)):
            name = self.partition = self._left[0]
            got: list[Any] | StopType | RecordError | None = self.call(self._read, name, n)
            self.answer = MORE
            if isinstance(got, RecordError):
                self._give_up(got)
                return []
            if got is STOP:
                self._left.popleft()
                self.ended_partitions.add(name)
                self._readers.pop(name).close()
                self.answer = MORE if self._left else ENDED
                return []
            if self._in_turn:
                self._left.rotate(-1)
            if got is not None:
                assert not isinstance(got, StopType)
                return got
            self.answer = IDLE
            if not self._in_turn:
                break
        if not self._left:
            self.answer = ENDED
        asked = self._left if self._in_turn else [*self._left][:1]
        self.not_before = min((self._not_before.get(name, -math.inf) for name in asked), default=-math.inf)
        return []

    def _read(self, name: str, n: int) -> list[Any] | StopType | RecordError | None:
        if self._not_before:
            if self.clock.now() < self._not_before.get(name, -math.inf):
                return None
            self._not_before.pop(name, None)
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = self.function.open(name, self._start.get(name))
        try:
            got = reader.read(n)
        except RecordError as error:  # returned, since the reader is behind it now: nothing is to be tried again
            return error
        if isinstance(got, Later):
            self._not_before[name] = self.clock.now() + got.seconds
            if got.idle:
                self.idle_partitions.add(name)
            return None
        if got and self.idle_partitions:
            self.idle_partitions.discard(name)
        return got

    def _give_up(self, error: RecordError) -> None:
        if self.recovery is None:
            raise error
        self.recovery.give_up(error, error.record)

    def _wait(self, timeout: float) -> None:
        """All partitions have nothing yet: wait for news of the first, which will be another one the next time."""
        self._readers[self._left[0]].wait(timeout)
        if self._in_turn:
            self._left.rotate(-1)
