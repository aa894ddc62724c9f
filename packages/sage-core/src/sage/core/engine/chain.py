"""The operators of one task, compiled to one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sage.core.engine import ctrl_c
from sage.core.engine.code import Code
from sage.core.engine.failures import OperatorError, describe_failure
from sage.core.engine.operators.base import ENDED, Emit, Flow, RunningOperator
from sage.core.engine.operators.connector_sink import ConnectorSinkOperator
from sage.core.engine.operators.connector_source import ConnectorSourceOperator
from sage.core.engine.operators.map_async import MapAsyncOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.operators.timestamps import TimestampsOperator
from sage.core.engine.output import Output
from sage.core.engine.restoring import restore

__all__ = ["Chain", "Hop", "Way"]


@dataclass(frozen=True)
class Way:
    """How records reach a chain: by which input of its first operator, and whether with keys, and with event times."""

    input: int = 0
    keyed: bool = False
    timed: bool = False


class Hop:
    """Where an operator's records go: to an operator of the same chain, or to an output.

    ``input`` is the number of that operator's input, ``tag`` the side output that the records leave by, ``keyed`` and
    ``timed`` whether they have keys and event times.
    """

    __slots__ = ("input", "keyed", "tag", "target", "timed")

    def __init__(
        self,
        target: RunningOperator | Output,
        *,
        keyed: bool,
        timed: bool = False,
        input: int = 0,
        tag: str | None = None,
    ) -> None:
        self.target = target
        self.keyed = keyed
        self.timed = timed
        self.input = input
        self.tag = tag


class Chain:
    """A tree of operators that run on one thread, one record at a time from top to bottom.

    Args:
        title: for tracebacks.
        operators: upstream first; the first takes the input.
        hops: by operator id, where its records go.
        ways: by which records reach the first operator; none for a source.

    Attributes:
        has_budgets: whether there is anything for `check_budgets` to look at.
        runs: for each way in, ``run(records, ahead, keys, times)`` processes some records, of which ``ahead`` is an
            iterator; set by `open`.
        turn: ``turn(ticks)`` lets the source take a turn, at most a record for each of ``ticks``, which count from 0;
            set by `open` if it does. Who empties that list meanwhile, from any thread, ends the turn.
        results: ``results(ticks)`` puts out what coroutines have come to; set by `open` if the first operator awaits
            some.
        entered: which operator is being opened or closed, or waits in its own way; any thread may ask.
        due: operators that may have something to do without any input, and ``due()`` which does it; None for those
            of `acting`.
        fires: for operators that act on time, ``fire(ticks, due)`` puts out what ``due``, their `firing`, gives.
        clocks: operators that assign event times.
        acting: operators that act on time.
        holders: operators that may hold the watermark back.
        endings: ``ending(ticks)``, to be called in order at the end of input, each until it answers ``ENDED``: they
            emit what was held back until then.
    """

    turn: Callable[[list[int]], int]
    results: Callable[[list[int]], int]

    def __init__(
        self,
        title: str,
        operators: Sequence[RunningOperator],
        hops: Mapping[int, Sequence[Hop]],
        ways: Sequence[Way],
    ) -> None:
        self.operators = tuple(operators)
        self.entered: RunningOperator | None = None
        self.code = Code(title)
        self.endings: list[Callable[[list[int]], int]] = []
        self.due: list[tuple[RunningOperator, Callable[[], object] | None]] = []
        self.fires: dict[TimedOperator, Callable[[list[int], Iterator[Any]], int]] = {}
        self._hops = hops
        self.runs: dict[Way, Callable[..., None]] = {}
        self._ways = tuple(ways)
        first = self.operators[0]
        first.has_keyed_input = any(way.keyed for way in ways)
        first.has_unkeyed_input = not all(way.keyed for way in ways)
        first.has_timed_input = any(way.timed for way in ways)
        for hop in (hop for leaving in hops.values() for hop in leaving):
            if isinstance(hop.target, RunningOperator):
                hop.target.has_keyed_input = hop.target.has_keyed_input or hop.keyed
                hop.target.has_timed_input = hop.target.has_timed_input or hop.timed
        for operator in operators:
            operator.states.has_event_time = operator.has_timed_input
        self.clocks = [operator for operator in operators if isinstance(operator, TimestampsOperator)]
        for clock in self.clocks:
            if isinstance(first, ConnectorSourceOperator):
                clock.source = first
        self.acting = [operator for operator in operators if isinstance(operator, TimedOperator)]
        self.holders = [operator for operator in operators if operator.holds and operator.has_timed_input]
        self._paths: dict[RunningOperator | None, tuple[RunningOperator | Output, ...]] = {}
        self._budgeted = [operator for operator in operators if operator.spec.on_error.ratio is not None]
        self.has_budgets = bool(self._budgeted)
        self._counts: list[tuple[RunningOperator, str, str]] = []
        self._sinks = [operator for operator in operators if isinstance(operator, ConnectorSinkOperator)]

    @property
    def awaiting(self) -> MapAsyncOperator | None:
        """The operator whose coroutines this task runs, if it has one."""
        first = self.operators[0]
        return first if isinstance(first, MapAsyncOperator) else None

    def path(self, origin: RunningOperator | None) -> tuple[RunningOperator | Output, ...]:
        """Where a watermark goes that leaves ``origin``, or that comes by the input for None, upstream first.

        It ends with operators that assign times anew, or that may hold it back.
        """
        found = self._paths.get(origin)
        if found is None:
            found = self._paths[origin] = tuple(self._path(origin))
        return found

    def _path(self, origin: RunningOperator | None) -> Iterator[RunningOperator | Output]:
        targets: list[RunningOperator | Output]
        if origin is None:
            targets = [self.operators[0]]
        else:
            targets = list(dict.fromkeys(hop.target for hop in self._hops[origin.spec.id] if hop.timed))
        for target in targets:
            yield target
            if isinstance(target, RunningOperator) and not target.holds and target not in self.clocks:
                yield from self._path(target)

    @property
    def source(self) -> SourceOperator | None:
        """The source this chain starts with, if it does."""
        first = self.operators[0]
        return first if isinstance(first, SourceOperator) else None

    def open(self) -> None:
        """Open the operators, last one first, so that each is ready before anything can reach it."""
        for operator in reversed(self.operators):
            self.entered = operator
            operator.side.update({hop.tag: [] for hop in self._hops[operator.spec.id] if hop.tag is not None})
            with OperatorError.boundary(operator, "__init__"):
                operator.build()
            with OperatorError.boundary(operator, "open"):
                if operator.recovery is not None:
                    operator.recovery.open()
                operator.open()
            if operator.saved:
                with OperatorError.boundary(operator, "restore"):
                    restore(operator, operator.saved)
            with OperatorError.boundary(operator, "state"):
                operator.check_state()
        self.entered = None
        self._compile()

    def check_budgets(self, *, at_end: bool = False) -> None:
        """Fail where too large a share of an operator's records was given up. Raises `OperatorError`."""
        for operator in self._budgeted:
            assert operator.recovery is not None
            with OperatorError.boundary(operator, "execute"):
                operator.recovery.check_ratio(at_end=at_end)

    def prepare(self) -> bool:
        """Let connectors' sinks make ready what they have written. Raises `OperatorError`.

        Returns:
            whether there is anything to be committed.
        """
        for sink in self._sinks:
            with OperatorError.boundary(sink, "prepare"):
                sink.prepare()
        return any(sink.is_prepared for sink in self._sinks)

    @ctrl_c.to_its_end
    def commit(self) -> None:
        """Publish what connectors' sinks have made ready. Raises `OperatorError`."""
        for sink in self._sinks:
            with OperatorError.boundary(sink, "commit"):
                sink.commit()

    def close(self) -> None:
        """Close all operators that were opened. The first error is raised after all were tried."""
        first: OperatorError | None = None
        for operator in self.operators:
            self.entered = operator
            try:
                with OperatorError.boundary(operator, "close"):
                    if operator.recovery is not None:
                        operator.recovery.close()
                    operator.close()
            except OperatorError as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"Then {error}\n{describe_failure(error).traceback}")
        self.entered = None
        self.code.forget()
        if first is not None:
            raise first

    def _compile(self) -> None:
        code, first = self.code, self.operators[0]
        if isinstance(first, SourceOperator):
            with code.function("def turn(ticks):", self._write_counts):
                first.generate_turn(code, "ticks", self._emit_from(first), lambda: self._drain_side_outputs(first))
        for number, way in enumerate(self._ways):
            with code.function(f"def run_{number}(records, ahead, keys, times):", self._write_counts):
                # Read off the iterator, the count is right also where a record fails, and costs nothing.
                record, count = code.name("record"), "len(records) - ahead.__length_hint__()"
                key, time = code.name("key") if way.keyed else None, code.name("time") if way.timed else None
                names = [name for name in (record, key, time) if name]
                lists = ["ahead", *(["keys"] if key else []), *(["times"] if time else [])]
                header = (
                    f"for {', '.join(names)} in zip({', '.join(lists)}):"
                    if len(names) > 1
                    else f"for {record} in ahead:"
                )
                with code.block(header):
                    self._generate(first, Flow(record, count, key, way.input, time))
        endings, due, fires = [], [], {}
        if isinstance(first, MapAsyncOperator):
            with code.function("def results(ticks):", self._write_counts):
                first.generate_results(
                    code, "ticks", self._emit_from(first), lambda time: self._drain_side_outputs(first, time)
                )
            endings.append("results")
        for number, operator in enumerate(self.operators):
            if operator.gathers:
                with code.function(f"def due_{number}(ticks=()):", self._write_counts):
                    operator.generate_due(code, self._emit_from(operator))
                    self._drain_side_outputs(operator, operator.side_time(code))
                    code.line(f"return {ENDED}")
                due.append((operator, f"due_{number}"))
                endings.append(f"due_{number}")
            if isinstance(operator, TimedOperator):
                with code.function(f"def fire_{number}(ticks, due):", self._write_counts):
                    operator.generate_firing(
                        code, "ticks", "due", self._emit_from(operator), partial(self._drain_side_outputs, operator)
                    )
                fires[operator] = f"fire_{number}"
                endings.append(f"fire_{number}")
            held_back = operator.held_back()
            if held_back is not None:
                with code.function(f"def ending_{number}(ticks):", self._write_counts):
                    operator.generate_taking(code, held_back, "ticks", self._emit_and_drain(operator))
                endings.append(f"ending_{number}")
        functions = {name: self._then_write(function) for name, function in code.compile().items()}
        if isinstance(first, SourceOperator):
            self.turn = functions["turn"]
        if isinstance(first, MapAsyncOperator):
            self.results = functions["results"]
        self.runs = {way: functions[f"run_{number}"] for number, way in enumerate(self._ways)}
        self.fires = {operator: functions[name] for operator, name in fires.items()}
        last = {name: _last_firing(operator, functions[name]) for operator, name in fires.items()}
        self.endings = [last[name] if name in last else functions[name] for name in endings]
        self.due = [
            *((operator, functions[name]) for operator, name in due),
            *((operator, None) for operator in fires),
            *((clock, clock.fall_idle) for clock in self.clocks if clock.may_fall_idle),
        ]

    def _then_write(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, and then the writing of what it has handed to connectors' sinks."""
        sinks = self._sinks
        if not sinks:
            return function

        def call(*args: Any) -> Any:
            answer = function(*args)
            for sink in sinks:
                with OperatorError.boundary(sink, "execute"):
                    sink.write()
            return answer

        return call

    def _generate(self, operator: RunningOperator, flow: Flow) -> None:
        """Write what an operator, and all that follows it, does with the record of ``flow``."""
        self._counts.append((operator, "records_in", flow.count))
        operator.release = partial(self._drain_side_outputs, operator)
        operator.generate(self.code, flow, self._emit_from(operator))
        self._drain_side_outputs(operator, flow.time)

    def _drain_side_outputs(self, operator: RunningOperator, time: str | None = None) -> None:
        """Write what happens to what the call that has just returned has put out on the side, at ``time``."""
        code = self.code
        for tag, records in operator.side.items():
            side, record, count = code.fast("side", records), code.name("record"), code.counter("aside")
            with code.block(f"if {side}:"):
                with code.block(f"for {record} in {side}:"):
                    code.line(f"{count} += 1")
                    self._emit_from(operator, tag)(Flow(record, count, time=time))
                code.line(f"{side}.clear()")

    def _emit_from(self, operator: RunningOperator, tag: str | None = None) -> Emit:
        def emit(flow: Flow) -> None:
            self._counts.append((operator, "records_out", flow.count))
            self.code.line("pass")  # where nobody takes what is put out
            for hop in self._hops.get(operator.spec.id, ()):
                if hop.tag != tag:
                    continue
                if isinstance(hop.target, Output):
                    self._append(hop, flow)
                else:
                    time = flow.time if hop.timed else None
                    key = flow.key if hop.keyed else None
                    self._generate(hop.target, Flow(flow.value, flow.count, key, time=time))

        return emit

    def _emit_and_drain(self, operator: RunningOperator) -> Emit:
        """Emit a record, and then what was put out on the side while it was made."""
        emit = self._emit_from(operator)

        def emit_and_drain(flow: Flow) -> None:
            emit(flow)
            self._drain_side_outputs(operator, flow.time)

        return emit_and_drain

    def _append(self, hop: Hop, flow: Flow) -> None:
        """Records gather in the output's lists, which are new ones after each flush: bound at every start."""
        output = self.code.bind("output", hop.target)
        self.code.line(f"{self.code.local('append', f'{output}.records.append')}({flow.value})")
        if hop.keyed:
            self.code.line(f"{self.code.local('append_key', f'{output}.keys.append')}({flow.key})")
        if hop.timed:
            self.code.line(f"{self.code.local('append_time', f'{output}.times.append')}({flow.time})")

    def _write_counts(self) -> None:
        for operator, counter, count in self._counts:
            self.code.line(f"{self.code.bind('operator', operator)}.{counter} += {count}")
        self._counts.clear()


def _last_firing(operator: TimedOperator, fire: Callable[[list[int], Iterator[Any]], int]) -> Callable[..., int]:
    """An ending: from its first call on, all time is over for ``operator``."""
    due: list[Iterator[Any]] = []

    def ending(ticks: list[int]) -> int:
        if not due:
            operator.end_time()
            due.append(operator.firing())
        return fire(ticks, due[0])

    return ending
