"""What all operators have in common while they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from sage.core.engine.attributes import Attributes
from sage.core.engine.clock import WALL, Clock
from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME
from sage.core.engine.events import OperatorCounts
from sage.core.engine.functions import (
    build_function,
    close_function,
    entry_point,
    looking_at_first,
    open_function,
    wants_context,
)
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.keyed_state import TOO_LATE
from sage.core.engine.operators.state_times import StateTimes
from sage.core.engine.recovery import GIVEN_UP, Recovery
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.engine.state_size import Kept, StateLimit
from sage.core.graph.model import Operator
from sage.core.graph.policy import FAIL

__all__ = ["ENDED", "IDLE", "MORE", "Emit", "Flow", "RunningOperator"]

MORE, IDLE, ENDED = 0, 1, 2
"""What a turn over a bounded number of records answers: there may be more at once, nothing yet, nothing any more."""


class Flow:
    """Names of variables in generated code: the record in hand, its key, and the count of records so far.

    ``input`` is the number of the operator's input that the record came by, ``time`` its event time, where it has one.
    """

    __slots__ = ("count", "input", "key", "time", "value")

    def __init__(self, value: str, count: str, key: str | None = None, input: int = 0, time: str | None = None) -> None:
        self.value = value
        self.count = count
        self.key = key
        self.input = input
        self.time = time


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
        saved: what its subtasks have saved before, to go on from; empty for a beginning.
        recovery: applies the operator's error policy; None where any exception fails the job.
        has_keyed_input, has_unkeyed_input: whether records come with a key, or without, on any of its inputs.
        broadcast_inputs: the numbers of those inputs whose records all subtasks are given.
        has_timed_input: whether they come with an event time on any of them.
        states: what it keeps for each key.
        state_times: what time it is for them, and which of them have expired.
        state_limit: sees that they are not too much.
        attributes: those of its function, which are kept as well; None if it has none of its own.
        side: by tag, what the call that is running has put out on the side.
        clock: of the host that it runs on.
        watermark: the event time of its input, in microseconds: what comes with an earlier time, or just this, is late.
        seen: the latest event time of a record, where that matters.
        late: records that came too late, counted so far.
        goes_on: whether the task is still to work; any thread may ask.
        stop: not empty if it is not.
        release: writes the lines that put out what the call before them has put out on the side, at a time. It follows
            what `generate` writes; an operator that calls several times for a record has it follow each of them.
    """

    context_type: ClassVar[type[RuntimeContext]] = RuntimeContext
    """What its function is given as ``self.context``."""

    keeps_keyed_state: ClassVar[bool] = True
    """Whether its function may declare keyed state where records have keys."""

    gathers: ClassVar[bool] = False
    """Whether records may wait here for company; then there is a `generate_due`."""

    holds: bool = False
    """Whether records that it puts out later keep the watermark back; then there is a `lets_pass`."""

    deadline: float = math.inf
    """When something is to be done without any input, by `clock`."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        self.spec = spec
        self.context = context
        self.records_in = 0
        self.records_out = 0
        self.failed = 0
        self.late = 0
        self.watermark = MIN_TIME
        self.seen = MIN_TIME
        self._reached = MIN_TIME  # the watermark, before all time was over
        self.recovery: Recovery | None = None
        self.saved: Sequence[OperatorSnapshot] = ()
        self.has_keyed_input = False
        self.has_unkeyed_input = False
        self.broadcast_inputs: frozenset[int] = frozenset()
        self.has_timed_input = False
        self.side: dict[str, list[Any]] = context._side
        self.clock: Clock = WALL
        self.goes_on: Callable[[], bool] = _always
        self.stop: list[bool] = []
        self.release: Callable[[str | None], None] = _nothing
        self.states = context._states
        self.state_limit: StateLimit | None = None
        self.state_times = StateTimes(self)
        self.attributes: Attributes | None = None
        self._opened = False
        self.function: Any = None
        self.execute: Callable[..., Any] = _not_open

    # Its life.

    @classmethod
    def class_for(cls, spec: Operator) -> type[RunningOperator]:
        """The class that runs ``spec``: this one, unless there are several for its kind."""
        return cls

    def run_under(self, interrupt: Interrupt) -> None:
        """Keep time by the clock of ``interrupt``, and apply the operator's error policy with its pauses."""
        self.clock = interrupt.clock
        self.goes_on = lambda: not interrupt.cancelled
        self.stop = interrupt.stop
        if self.spec.on_error != FAIL:
            self.recovery = Recovery(self.spec.on_error, self, interrupt.pause)

    def limit_state(self, limit: int) -> None:
        """Allow it ``limit`` bytes for what it keeps for its keys, by the size when saved."""
        self.state_limit = StateLimit(self, limit)

    def build(self) -> None:
        """Make the function. Called once, on the task's thread, before `open`."""
        self.function = build_function(self.spec.function)
        self.execute = entry_point(self.function, self.spec.function)
        if self.spec.function.form in ("class", "instance"):
            self.attributes = Attributes(self.function)

    def open(self) -> None:
        """Call the function's ``open``. Called once, on the task's thread, before `restore` and `generate`."""
        self._opened = True
        self.states.refusal = self._no_states()
        self.states.broadcast_refusal = self._no_broadcast_states()
        self._await_hook(open_function(self.function, self.spec.function, self.context))
        self.states.refusal = self.states.broadcast_refusal = TOO_LATE
        self.states.has_key = self.has_keyed_input

    def _no_states(self) -> str | None:
        if not self.has_keyed_input:
            return f"{self.spec.title} does not come directly behind keyby(…)"
        return None if self.keeps_keyed_state else f"{self.spec.kind} works on records of many keys at once"

    def _no_broadcast_states(self) -> str | None:
        if not self.broadcast_inputs:
            return f"no input of {self.spec.title} is given by broadcast()"
        return None if self.keeps_keyed_state else f"{self.spec.kind} works on many records at once"

    def check_state(self) -> None:
        """See that the attributes can be saved, before the first record. Raises `StateError`."""
        if self.attributes is not None:
            self.attributes.check()

    def close(self) -> None:
        """Call the function's ``close`` if it was built. Called once."""
        self.states.has_key = self.states.writable = False
        if self._opened:
            self._opened = False
            self.context.key = None
            self._await_hook(close_function(self.function, self.spec.function))

    def _await_hook(self, answer: Any) -> None:
        """What ``open`` or ``close`` has returned, which means something only where they may be coroutines."""

    def counts(self) -> OperatorCounts:
        """What has been counted so far; any thread may ask."""
        recovery = self.recovery
        counts = OperatorCounts(
            self.records_in, self.records_out, failed=self.failed, late=self.late, watermark=self.watermark
        )
        if recovery is None:
            return counts
        return replace(
            counts,
            retried=recovery.retried,
            skipped=recovery.skipped,
            dead_lettered=recovery.dead_lettered,
            given_up=tuple(recovery.listed.copy()),
        )

    # What it keeps, and what of that `sage.core.engine.restoring` saves.

    @property
    def keeps(self) -> bool:
        """Whether there may be something in `kept`."""
        return bool(self.states.tables)

    def kept(self) -> Iterator[Kept]:
        """What it keeps for its keys: what counts where that is limited."""
        for name, table in self.states.tables.items():
            yield Kept(f"keyed state '{name}'" if name else f"what {self.spec.kind} keeps", table, len(table))

    def forget_call(self) -> None:
        """Undo what a failed call has done: its outputs are withheld, its writes to keyed state are set back."""
        for records in self.side.values():
            records.clear()
        self.states.undo()

    @property
    def sets_back(self) -> bool:
        """Whether a call that fails may have done what is to be set back: written to keyed state."""
        return bool(self.states)

    def keyed_tables(self) -> Mapping[str, dict[Any, Any]]:
        """By name of the state, what is kept for each key, as it is saved."""
        return self.states.saved_tables(self.state_times.now())

    def restore_table(self, name: str, items: list[tuple[Any, Any]], ttl_time: str | None) -> None:
        """Keep again what `keyed_tables` gave for those keys of ``name`` that are looked after here."""
        self.states.restore_table(name, items, ttl_time, self.state_times.now())

    def save_timers(self) -> Mapping[Any, Any]:
        """For each key, the timers that are set."""
        return {}

    def restore_timers(self, saved: Mapping[Any, Any]) -> None:
        """Set the timers again that `save_timers` gave for keys that are looked after here."""

    def in_flight(self) -> list[tuple[Any, ...]]:
        """What was taken in and has not been put out, in order: ``(record,)``, or ``(record, key)``."""
        return []

    def take_back(self, items: list[tuple[Any, ...]]) -> None:
        """Have in flight again what `in_flight` gave."""

    def positions(self) -> dict[str, object]:
        """By partition, where a source goes on, if it has a position beside its attributes."""
        return {}

    def go_on_at(self, positions: Mapping[str, bytes]) -> None:
        """Read on from where `positions` were; those of partitions that other subtasks read do not matter."""

    # Time.

    def now(self) -> int:
        """Processing time, in microseconds."""
        return round(self.clock.time() * MICROS)

    def pass_time(self, watermark: int) -> None:
        """The event time of its input is ``watermark`` now. It never goes back, also behind what was saved."""
        self.watermark = self.context._watermark = max(self.watermark, watermark)
        if watermark < MAX_TIME:
            self._reached = self.watermark

    def end_time(self) -> None:
        """Its input has ended: all time is over. What `firing` gives from now on is the last."""
        self.pass_time(MAX_TIME)

    def lets_pass(self, watermark: int) -> int:
        """Of ``watermark``, what may go on to the operators that follow."""
        return watermark

    @property
    def rests(self) -> bool:
        """Whether nothing that it holds will be put out: then those that follow need not wait for it, if it is idle."""
        return True

    # The code that is generated for it.

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        """Write the lines that process one record of ``flow``.

        Args:
            code: where to write.
            flow: the incoming record.
            emit: to be called where a record goes out.
        """
        raise TypeError(f"{self.spec.kind} takes no input")

    def generate_due(self, code: Code, emit: Emit) -> None:
        """Write the lines that emit what has waited: at the deadline, and at the end of input."""
        raise TypeError(f"{self.spec.kind} gathers nothing")

    def held_back(self) -> Iterator[Any] | None:
        """What is emitted at the end of input, read no sooner; None if nothing ever is."""
        return None

    def side_time(self, code: Code) -> str | None:
        """The event time of what `generate_due` puts out on the side."""
        return None

    def generate_taking(self, code: Code, records: Iterator[Any], ticks: str, emit: Emit) -> None:
        """Write a loop that emits one of ``records`` for each of ``ticks`` and answers `MORE` or `ENDED`."""
        tick, value, count = code.name("tick"), code.name("record"), code.counter("taken")
        code.call(f"for {tick}, {value} in zip({ticks}, {code.bind('records', records)}):", self, None)
        with code.indented():
            code.line(f"{count} = {tick} + 1")
            emit(Flow(value, count))
        code.line(f"return {MORE} if {count} == len({ticks}) else {ENDED}")

    def leaving_if_cancelled(self, code: Code) -> None:
        """Write the line that leaves a loop which no emptied list ends when the task is cancelled."""
        with code.block(f"if {code.fast('stop', self.stop)}:"):
            code.line("break")

    @contextmanager
    def calling(
        self,
        code: Code,
        stem: str,
        record: str | None,
        *arguments: str,
        function: Callable[..., Any] | None = None,
        wrap: Callable[[Any], Any] | None = None,
        otherwise: str = "",
    ) -> Iterator[str]:
        """Write a call of the user's function; what is written inside the block happens to its result.

        Args:
            code: where to write.
            stem: for names in the generated code.
            record: the variable that holds the record in hand; None for a source.
            arguments: variables to call it with.
            function: what to call, `execute` by default.
            wrap: applied to the result, under the same error policy.
            otherwise: the beginning of a conditional expression, ``… if …``, for a result without the call.
        """
        function = function or self.execute
        result = code.name(f"{stem}_result")
        called = code.bind(stem, function)
        code.rebind(called, looking_at_first(function, partial(code.rebind, called, function)))
        call = f"{code.local(stem, called)}({', '.join(arguments)})"
        if wrap is not None:
            call = f"{code.fast('wrap', wrap)}({call})"
        if otherwise:
            call = f"{otherwise} else {call}"
        if self.recovery is None:
            code.call(f"{result} = {call}", self, record)
            yield result
            return
        journal = self.states.keep_journal() if self.sets_back else None
        again = function if wrap is None else _composed(wrap, function)
        with code.block("try:"):
            code.call(f"{result} = {call}", self, record)
        with code.block("except Exception as error:"):
            recover = f"{code.bind('recover', self.recovery)}(error, {record}, {code.bind('again', again)}"
            code.call(f"{result} = {', '.join([recover, *arguments])})", self, record)
        if journal is not None:
            code.line(f"{code.fast('forget_journal', journal.clear)}()")
        with code.block(f"if {result} is not {code.bind('GIVEN_UP', GIVEN_UP)}:"):
            code.line("pass")  # where nothing happens to it yet
            yield result

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call, again as often as the error policy says. What fails even then is no record's fault: it is raised."""
        try:
            return function(*args)
        except Exception as error:
            if self.recovery is None:
                raise
            result, last = self.recovery.retry(error, function, *args)
        if last is not None:
            raise last
        return result

    def weight(self, record: Any) -> int:
        """How many records go with ``record``, the one that a failing call was made for."""
        return 1

    def passing(self, code: Code, flow: Flow) -> str:
        """The count of records that go on from here, within `calling`: all, unless some may be given up."""
        if self.recovery is None:
            return flow.count
        count = code.counter("passed")
        code.line(f"{count} += 1")
        return count

    def _set_context(self, code: Code, flow: Flow) -> None:
        """Write the lines that tell the function's context of the record in hand."""
        if not wants_context(self.function, self.spec.function):
            return
        if flow.time or self.has_timed_input:
            code.line(f"{code.fast('context', self.context)}._time = {flow.time}")
        if flow.key or self.has_keyed_input:
            code.line(f"{code.fast('context', self.context)}.key = {flow.key}")
            if self.has_unkeyed_input:
                code.line(f"{code.fast('states', self.states)}.has_key = {flow.key is not None}")
        if self.states.broadcast:
            code.line(f"{code.fast('states', self.states)}.writable = {flow.input in self.broadcast_inputs}")
        if self.states.expiries:
            self.state_times.tell(code, flow)


def _composed(wrap: Callable[[Any], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: wrap(function(*arguments))


def _always() -> bool:
    return True


def _nothing(time: str | None) -> None:
    pass


def _not_open(*_: Any) -> Any:
    raise RuntimeError("the operator is not open")
