"""What all operators have in common while they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar

from sage.core.engine.clock import WALL, Clock
from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.events import OperatorCounts
from sage.core.engine.functions import build_function, close_function, entry_point, open_function, wants_context
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.recovery import GIVEN_UP, Recovery
from sage.core.graph.model import Operator
from sage.core.graph.policy import FAIL

__all__ = ["ENDED", "MORE", "Emit", "Flow", "RunningOperator"]

MORE, ENDED = 0, 2
"""What a turn over a bounded number of records answers: there may be more at once, there is nothing any more."""


class Flow:
    """Names of variables in generated code: the record in hand, its key, and the count of records so far.

    ``input`` is the number of the operator's input that the record came by.
    """

    __slots__ = ("count", "input", "key", "value")

    def __init__(self, value: str, count: str, key: str | None = None, input: int = 0) -> None:
        self.value = value
        self.count = count
        self.key = key
        self.input = input


Emit = Callable[[Flow], None]
"""Generates what happens to a record that an operator puts out."""


class RunningOperator:
    """One operator in one subtask: the user's function, its life, and the code that calls it.

    Args:
        spec: the operator.
        context: what its function may know.

    Attributes:
        records_in, records_out: counted so far; written by the task's thread, read by any.
        failed: exceptions of its functions that ended the task, or came while it ended.
        recovery: applies the operator's error policy; None where any exception fails the job.
        has_keyed_input: whether records come with a key on any of its inputs.
        side: by tag, what the call that is running has put out on the side.
        clock: of the host that it runs on.
        goes_on: whether the task is still to work; any thread may ask.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        self.spec = spec
        self.context = context
        self.records_in = 0
        self.records_out = 0
        self.failed = 0
        self.recovery: Recovery | None = None
        self.has_keyed_input = False
        self.side: dict[str, list[Any]] = context._side
        self.clock: Clock = WALL
        self.goes_on: Callable[[], bool] = _always
        self._opened = False
        self.function: Any = None
        self.execute: Callable[..., Any] = _not_open

    def run_under(self, interrupt: Interrupt) -> None:
        """Keep time by the clock of ``interrupt``, and apply the operator's error policy with its pauses."""
        self.clock = interrupt.clock
        self.goes_on = lambda: not interrupt.cancelled
        if self.spec.on_error != FAIL:
            self.recovery = Recovery(self.spec.on_error, self, interrupt.pause)

    def counts(self) -> OperatorCounts:
        """What has been counted so far; any thread may ask."""
        recovery = self.recovery
        if recovery is None:
            return OperatorCounts(self.records_in, self.records_out, failed=self.failed)
        return OperatorCounts(
            self.records_in,
            self.records_out,
            recovery.retried,
            recovery.skipped,
            recovery.dead_lettered,
            tuple(recovery.listed.copy()),
            self.failed,
        )

    def forget_call(self) -> None:
        """Undo what a failed call has done: its outputs are withheld."""
        for records in self.side.values():
            records.clear()

    def build(self) -> None:
        """Make the function. Called once, on the task's thread, before `open`."""
        self.function = build_function(self.spec.function)
        self.execute = entry_point(self.function, self.spec.function)

    def open(self) -> None:
        """Call the function's ``open``. Called once, on the task's thread, before `generate`."""
        self._opened = True
        open_function(self.function, self.spec.function, self.context)

    def close(self) -> None:
        """Call the function's ``close`` if it was built. Called once."""
        if self.recovery is not None:
            self.recovery.close()
        if self._opened:
            self._opened = False
            close_function(self.function, self.spec.function)

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        """Write the lines that process one record of ``flow``.

        Args:
            code: where to write.
            flow: the incoming record.
            emit: to be called where a record goes out.
        """
        raise TypeError(f"{self.spec.kind} takes no input")

    gathers: ClassVar[bool] = False
    """Whether records may wait here for company; then there is a `generate_due`."""

    deadline: float = math.inf
    """When they have waited long enough, by `clock`."""

    def generate_due(self, code: Code, emit: Emit) -> None:
        """Write the lines that emit what has waited: at the deadline, and at the end of input."""
        raise TypeError(f"{self.spec.kind} gathers nothing")

    def held_back(self) -> Iterator[Any] | None:
        """What is emitted at the end of input, read no sooner; None if nothing ever is."""
        return None

    def generate_taking(self, code: Code, records: Iterator[Any], limit: str, emit: Emit) -> None:
        """Write a loop that emits at most ``limit`` of ``records`` and answers `MORE` or `ENDED`."""
        value, count = code.name("record"), code.counter("taken")
        some = f"{code.bind('islice', islice)}({code.bind('records', records)}, {limit})"
        code.call(f"for {value} in {some}:", self, None)
        with code.indented():
            code.line(f"{count} += 1")
            emit(Flow(value, count))
        code.line(f"return {MORE} if {count} == {limit} else {ENDED}")

    @contextmanager
    def calling(
        self,
        code: Code,
        stem: str,
        record: str | None,
        *arguments: str,
        function: Callable[..., Any] | None = None,
        wrap: Callable[[Any], Any] | None = None,
    ) -> Iterator[str]:
        """Write a call of the user's function; what is written inside the block happens to its result.

        Args:
            code: where to write.
            stem: for names in the generated code.
            record: the variable that holds the record in hand; None for a source.
            arguments: variables to call it with.
            function: what to call, `execute` by default.
            wrap: applied to the result, under the same error policy.
        """
        function = function or self.execute
        result = code.name(f"{stem}_result")
        call = f"{code.fast(stem, function)}({', '.join(arguments)})"
        if wrap is not None:
            call = f"{code.fast('wrap', wrap)}({call})"
        if self.recovery is None:
            code.call(f"{result} = {call}", self, record)
            yield result
            return
        again = function if wrap is None else _composed(wrap, function)
        with code.block("try:"):
            code.call(f"{result} = {call}", self, record)
        with code.block("except Exception as error:"):
            recover = f"{code.bind('recover', self.recovery)}(error, {record}, {code.bind('again', again)}"
            code.call(f"{result} = {', '.join([recover, *arguments])})", self, record)
        with code.block(f"if {result} is not {code.bind('GIVEN_UP', GIVEN_UP)}:"):
            yield result

    def passing(self, code: Code, flow: Flow) -> str:
        """The count of records that go on from here, within `calling`: all, unless some may be given up."""
        if self.recovery is None:
            return flow.count
        count = code.counter("passed")
        code.line(f"{count} += 1")
        return count

    def _set_key(self, code: Code, flow: Flow) -> None:
        if (flow.key or self.has_keyed_input) and wants_context(self.function, self.spec.function):
            code.line(f"{code.fast('context', self.context)}.key = {flow.key}")


def _composed(wrap: Callable[[Any], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: wrap(function(*arguments))


def _always() -> bool:
    return True


def _not_open(*_: Any) -> Any:
    raise RuntimeError("the operator is not open")
