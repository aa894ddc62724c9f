"""The operators of one task, compiled to one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from sage.core.engine import ctrl_c
from sage.core.engine.code import Code
from sage.core.engine.compiling import ChainCompiler, Firing, Ticking
from sage.core.engine.failures import OperatorError, describe_failure
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.operators.connector_sink import ConnectorSinkOperator
from sage.core.engine.operators.connector_source import ConnectorSourceOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.operators.timestamps import TimestampsOperator
from sage.core.engine.output import Output
from sage.core.engine.restoring import restore
from sage.core.engine.ways import Hop, Way
from sage.core.graph.kinds import KINDS

if TYPE_CHECKING:
    from sage.core.engine.operators.map_async import MapAsyncOperator

__all__ = ["Chain"]


class Chain:
    """A tree of operators that run on one thread, one record at a time from top to bottom.

    Args:
        title: for tracebacks.
        operators: upstream first; the first takes the input.
        hops: by operator id, where its records go.
        ways: by which records reach the first operator; none for a source.

    Attributes:
        has_budgets: whether there is anything for `check_budgets` to look at.
        entered: which operator is being opened or closed, or waits in its own way; any thread may ask.
        turn, runs, results, fires, endings: what the operators were compiled to, see `Compiled`; set by `open`.
        due: operators that may have something to do without any input, and ``due()`` which does it; None for those
            of `acting`.
        clocks: operators that assign event times.
        acting: operators that act on time.
        holders: operators that may hold the watermark back.
    """

    turn: Ticking
    results: Ticking

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
        self.due: list[tuple[RunningOperator, Callable[[], object] | None]] = []
        self.runs: Mapping[Way, Callable[..., None]] = {}
        self.fires: Mapping[TimedOperator, Firing] = {}
        self.endings: Sequence[Ticking] = ()
        self._hops = hops
        self._ways = tuple(ways)
        self._tell_inputs()
        self.clocks = [operator for operator in operators if isinstance(operator, TimestampsOperator)]
        for clock in self.clocks:
            if isinstance(self.operators[0], ConnectorSourceOperator):
                clock.source = self.operators[0]
        self.acting = [operator for operator in operators if isinstance(operator, TimedOperator)]
        self.holders = [operator for operator in operators if operator.holds and operator.has_timed_input]
        self._paths: dict[RunningOperator | None, tuple[RunningOperator | Output, ...]] = {}
        self._budgeted = [operator for operator in operators if operator.spec.on_error.ratio is not None]
        self.has_budgets = bool(self._budgeted)
        self._sinks = [operator for operator in operators if isinstance(operator, ConnectorSinkOperator)]

    def _tell_inputs(self) -> None:
        """Tell each operator what its records come with."""
        first, ways = self.operators[0], self._ways
        first.has_keyed_input = any(way.keyed for way in ways)
        first.has_unkeyed_input = not all(way.keyed for way in ways)
        first.has_timed_input = any(way.timed for way in ways)
        for hop in (hop for leaving in self._hops.values() for hop in leaving):
            if isinstance(hop.target, RunningOperator):
                hop.target.has_keyed_input = hop.target.has_keyed_input or hop.keyed
                hop.target.has_timed_input = hop.target.has_timed_input or hop.timed
        for operator in self.operators:
            operator.states.has_event_time = operator.has_timed_input

    @property
    def awaiting(self) -> MapAsyncOperator | None:
        """The operator whose coroutines this task runs, if it has one."""
        first = self.operators[0]
        return cast("MapAsyncOperator", first) if KINDS[first.spec.kind].awaits else None

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
        compiled = ChainCompiler(self.code, self.operators, self._hops, self._ways).compile()
        if compiled.turn is not None:
            self.turn = compiled.turn
        if compiled.results is not None:
            self.results = compiled.results
        self.runs = compiled.runs
        self.fires = compiled.fires
        self.endings = compiled.endings
        self.due = [
            *compiled.due.items(),
            *((operator, None) for operator in self.acting),
            *((clock, clock.fall_idle) for clock in self.clocks if clock.may_fall_idle),
        ]
