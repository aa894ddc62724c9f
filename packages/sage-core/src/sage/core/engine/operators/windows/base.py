"""What all operators over windows have in common: folding, late records, what is put out when a window fires."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.operators.base import Emit, Flow
from sage.core.engine.operators.timed import Fired, Firing, TimedOperator
from sage.core.engine.operators.windows.folding import Aggregating, Collecting, Folding, Reducing
from sage.core.engine.operators.windows.spans import micros
from sage.core.engine.operators.windows.trigger import Trigger
from sage.core.engine.recovery import GIVEN_UP
from sage.core.engine.state_size import Kept
from sage.core.engine.window import Window, WindowResult
from sage.core.graph.model import Operator
from sage.core.graph.windows import is_event_window

__all__ = ["Due", "WindowedOperator"]

Due = Sequence[tuple[Any, Any]]
"""Windows that a record has made fire, as the operator that fires them knows them."""


class WindowedOperator(TimedOperator):
    """Folds records by key and window.

    A window that has its last instant at or before `progress` has passed: it has fired, if it fires at its end. It is
    gone once the allowed lateness is over as well; what comes for it then is late.
    """

    keeps_keyed_state: ClassVar[bool] = False

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        options = spec.options
        self.window = options["window"]
        self.by_event = is_event_window(self.window)
        self.by_clock = self.window.get("time") == "processing"
        self.lateness = micros(options["allowed_lateness"])
        self.trigger = Trigger.of(options["trigger"])
        self.with_window = bool(options["with_window"])
        self.is_ending = False
        self.states.kinds[""] = "window"  # a name that no function can declare
        self.fold: Folding = Reducing(lambda a, b: b)  # until `open`

    def open(self) -> None:
        super().open()
        if self.spec.kind == "window_reduce":
            self.fold = Reducing(self.execute)
        elif self.spec.kind == "window_aggregate":
            self.fold = Aggregating(self.function)
        else:
            self.fold = Collecting(self.execute, self.goes_on)

    @property
    def keeps(self) -> bool:
        return True

    def kept(self) -> Iterator[Kept]:
        yield Kept("what its windows hold", *self.held())

    def held(self) -> tuple[Mapping[Any, Any], int]:
        """What the windows hold, by whatever, and of how many keys, about."""
        raise NotImplementedError

    def keyed_tables(self) -> Mapping[str, dict[Any, Any]]:
        return {"": self.saved_by_key()}

    def restore_table(self, name: str, items: list[tuple[Any, Any]], ttl_time: str | None) -> None:
        self.restore_by_key(items)

    def saved_by_key(self) -> dict[Any, Any]:
        """For each key, what its windows hold: plain data, since all that is saved goes by key."""
        raise NotImplementedError

    def restore_by_key(self, items: Sequence[tuple[Any, Any]]) -> None:
        """Keep again what `saved_by_key` gave for those keys that are looked after here."""
        raise NotImplementedError

    def progress(self) -> int:
        """What windows pass by: the watermark, or, for those by the clock, the last instant that is over."""
        if not self.by_clock:
            return self.watermark
        return MAX_TIME if self.is_ending else self.now() - 1

    def arriving(self, time: int | None) -> tuple[int, int]:
        """The time of a record that comes now, and what windows have passed by then.

        By the clock that is looked at again, and a record is of the present: were both taken by themselves, the record
        could be of a window that has passed in between.
        """
        time, progress = self.need_time(time), self.progress()
        if self.by_clock and not self.is_ending:
            time = max(time, progress + 1)
        return time, progress

    def end_time(self) -> None:
        super().end_time()
        self.is_ending = True

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        self.generate_slow(code, flow, flow.key or "None", self.time_of(code, flow), emit)

    def time_of(self, code: Code, flow: Flow) -> str:
        """Write how the time is found that decides in which windows a record is. Returns the variable."""
        if not self.by_clock:
            return flow.time or "None"
        time = code.name("time")
        code.line(f"{time} = {code.fast('now', self.now)}()")
        return time

    def generate_slow(self, code: Code, flow: Flow, key: str, time: str, emit: Emit) -> None:
        """Write the adding of a record by `add`, and the firing of what that has made due."""
        record, at = code.name("record"), code.name("at")
        count = code.counter("fired")
        with self.calling(code, "window", flow.value, flow.value, key, time, function=self.add) as due:
            code.call(f"for {record}, {at} in {code.fast('fire', self._fire_each)}({due}):", self, flow.value)
            with code.indented():
                code.line(f"{count} += 1")
                emit(Flow(record, count, time=at if self.has_timed_input else None))
                self.leaving_if_cancelled(code)

    def _fire_each(self, due: Due) -> Iterator[tuple[Any, int | None]]:
        for records, time in self.fire(due) if due else ():
            for record in records:
                yield record, time

    def add(self, record: Any, key: Any, time: int | None) -> Due:
        """Fold a record into its windows; all of it or, if the user's function raises, nothing.

        Returns:
            the windows that fire for it.
        """
        raise NotImplementedError

    def fire(self, due: Due) -> Firing:
        """Put out what `add` has found due."""
        raise NotImplementedError

    def put_out(self, key: Any, window: Window, value: Any, time: int | None) -> Fired:
        """What a window fires, after the error policy, and the event time of that."""
        results: Any = (value,)
        if self.fold.asks:
            results = self.call_firing(key, time, self._ask, (key, window, value))
            if results is GIVEN_UP:
                return (), time
        return [WindowResult(key, window, result) for result in results] if self.with_window else results, time

    def _ask(self, fired: tuple[Any, Window, Any]) -> Sequence[Any]:
        return self.fold.put_out(*fired)
