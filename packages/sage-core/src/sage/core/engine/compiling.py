"""From operators to one loop: writes the functions of a chain, and compiles them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sage.core.engine.code import Code
from sage.core.engine.failures import OperatorError
from sage.core.engine.operators.base import ENDED, Emit, Flow, RunningOperator
from sage.core.engine.operators.connector_sink import ConnectorSinkOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.output import Output
from sage.core.engine.ways import Hop, Way
from sage.core.graph.kinds import KINDS

if TYPE_CHECKING:
    from sage.core.engine.operators.map_async import MapAsyncOperator

__all__ = ["ChainCompiler", "Compiled", "Firing", "Ticking"]

Ticking = Callable[[list[int]], int]
"""Takes what counts the records of a slice, from 0, and answers `MORE`, `IDLE` or `ENDED`. Who empties that list
meanwhile, from any thread, ends the slice."""

Firing = Callable[[list[int], Iterator[Any]], int]
"""Like that, of what an operator has due."""


@dataclass(frozen=True)
class Compiled:
    """The functions of a chain.

    Attributes:
        turn: lets the source take a turn, at most a record for each tick; None if the chain has none.
        runs: for each way in, ``run(records, ahead, keys, times)`` processes some records, of which ``ahead`` is an
            iterator.
        results: puts out what coroutines have come to; None if the first operator awaits none.
        due: for operators with records that may wait for company, ``due()`` puts them out.
        fires: for operators that act on time, ``fire(ticks, due)`` puts out what ``due``, their `firing`, gives.
        endings: to be called in order at the end of input, each until it answers ``ENDED``: they emit what was held
            back until then.
    """

    turn: Ticking | None
    runs: dict[Way, Callable[..., None]]
    results: Ticking | None
    due: dict[RunningOperator, Callable[[], object]]
    fires: dict[TimedOperator, Firing]
    endings: list[Ticking]


class ChainCompiler:
    """Compiles the operators of a chain.

    Args:
        code: where to write.
        operators: upstream first; they are open.
        hops: by operator id, where its records go.
        ways: by which records reach the first operator.
    """

    def __init__(
        self,
        code: Code,
        operators: Sequence[RunningOperator],
        hops: Mapping[int, Sequence[Hop]],
        ways: Sequence[Way],
    ) -> None:
        self._code = code
        self._operators = operators
        self._hops = hops
        self._ways = ways
        self._counts: list[tuple[RunningOperator, str, str]] = []
        self._sinks = [operator for operator in operators if isinstance(operator, ConnectorSinkOperator)]

    def compile(self) -> Compiled:
        """Write all functions, and compile them."""
        first = self._operators[0]
        turn = self._write_turn(first) if isinstance(first, SourceOperator) else None
        runs = {way: self._write_run(number, first, way) for number, way in enumerate(self._ways)}
        results = self._write_results(cast("MapAsyncOperator", first)) if KINDS[first.spec.kind].awaits else None
        due, fires, rests = {}, {}, {}
        for number, operator in enumerate(self._operators):
            if operator.gathers:
                due[operator] = self._write_due(number, operator)
            if isinstance(operator, TimedOperator):
                fires[operator] = self._write_fire(number, operator)
            held_back = operator.held_back()
            if held_back is not None:
                rests[operator] = self._write_rest(number, operator, held_back)

        functions = {name: self._then_write(function) for name, function in self._code.compile().items()}
        endings = [] if results is None else [functions[results]]
        for operator in self._operators:
            if operator in due:
                endings.append(functions[due[operator]])
            if isinstance(operator, TimedOperator):
                endings.append(_last_firing(operator, functions[fires[operator]]))
            if operator in rests:
                endings.append(functions[rests[operator]])
        return Compiled(
            turn=None if turn is None else functions[turn],
            runs={way: functions[name] for way, name in runs.items()},
            results=None if results is None else functions[results],
            due={operator: functions[name] for operator, name in due.items()},
            fires={operator: functions[name] for operator, name in fires.items()},
            endings=endings,
        )

    def _write_turn(self, source: SourceOperator) -> str:
        with self._code.function("def turn(ticks):", self._write_counts):
            drain = partial(self._drain_side_outputs, source)
            source.generate_turn(self._code, "ticks", self._emit_from(source), drain)
        return "turn"

    def _write_run(self, number: int, first: RunningOperator, way: Way) -> str:
        code, name = self._code, f"run_{number}"
        with code.function(f"def {name}(records, ahead, keys, times):", self._write_counts):
            # Read off the iterator, the count is right also where a record fails, and costs nothing.
            record, count = code.name("record"), "len(records) - ahead.__length_hint__()"
            key, time = code.name("key") if way.keyed else None, code.name("time") if way.timed else None
            names = [name for name in (record, key, time) if name]
            lists = ["ahead", *(["keys"] if key else []), *(["times"] if time else [])]
            items = f"zip({', '.join(lists)})" if len(lists) > 1 else "ahead"
            with code.block(f"for {', '.join(names)} in {items}:"):
                self._generate(first, Flow(record, count, key, way.input, time))
        return name

    def _write_results(self, awaiting: MapAsyncOperator) -> str:
        with self._code.function("def results(ticks):", self._write_counts):
            drain = partial(self._drain_side_outputs, awaiting)
            awaiting.generate_results(self._code, "ticks", self._emit_from(awaiting), drain)
        return "results"

    def _write_due(self, number: int, operator: RunningOperator) -> str:
        name = f"due_{number}"
        with self._code.function(f"def {name}(ticks=()):", self._write_counts):
            operator.generate_due(self._code, self._emit_from(operator))
            self._drain_side_outputs(operator, operator.side_time(self._code))
            self._code.line(f"return {ENDED}")
        return name

    def _write_fire(self, number: int, operator: TimedOperator) -> str:
        name = f"fire_{number}"
        with self._code.function(f"def {name}(ticks, due):", self._write_counts):
            drain = partial(self._drain_side_outputs, operator)
            operator.generate_firing(self._code, "ticks", "due", self._emit_from(operator), drain)
        return name

    def _write_rest(self, number: int, operator: RunningOperator, held_back: Iterator[Any]) -> str:
        name = f"ending_{number}"
        with self._code.function(f"def {name}(ticks):", self._write_counts):
            operator.generate_taking(self._code, held_back, "ticks", self._emit_and_drain(operator))
        return name

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
        operator.generate(self._code, flow, self._emit_from(operator))
        self._drain_side_outputs(operator, flow.time)

    def _drain_side_outputs(self, operator: RunningOperator, time: str | None = None) -> None:
        """Write what happens to what the call that has just returned has put out on the side, at ``time``."""
        code = self._code
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
            self._code.line("pass")  # where nobody takes what is put out
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
        output = self._code.bind("output", hop.target)
        self._code.line(f"{self._code.local('append', f'{output}.records.append')}({flow.value})")
        if hop.keyed:
            self._code.line(f"{self._code.local('append_key', f'{output}.keys.append')}({flow.key})")
        if hop.timed:
            self._code.line(f"{self._code.local('append_time', f'{output}.times.append')}({flow.time})")

    def _write_counts(self) -> None:
        for operator, counter, count in self._counts:
            self._code.line(f"{self._code.bind('operator', operator)}.{counter} += {count}")
        self._counts.clear()


def _last_firing(operator: TimedOperator, fire: Firing) -> Ticking:
    """An ending: from its first call on, all time is over for ``operator``."""
    due: list[Iterator[Any]] = []

    def ending(ticks: list[int]) -> int:
        if not due:
            operator.end_time()
            due.append(operator.firing())
        return fire(ticks, due[0])

    return ending
