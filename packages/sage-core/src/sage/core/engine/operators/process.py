"""``process``: functions that see time and state, and that are called again when it is time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext, TimeKind
from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME, to_seconds
from sage.core.engine.functions import outputs_of
from sage.core.engine.operators.base import Emit, Flow
from sage.core.engine.operators.timed import Firing, TimedOperator
from sage.core.engine.process_context import ProcessContext, Timer
from sage.core.engine.recovery import GIVEN_UP
from sage.core.engine.state_size import Kept
from sage.core.engine.timers import TimerQueue
from sage.core.errors import TimerError
from sage.core.graph.model import Operator

__all__ = ["CoProcessOperator", "ProcessOperator"]

_MOST_AT_ONCE = 10_000
"""Times that one key's timer may be set anew for its own instant while that is."""

_as_timer: Callable[[tuple[float, TimeKind]], Timer] = partial(tuple.__new__, Timer)
"""As ``Timer(…)``, in half the time."""


class ProcessOperator(TimedOperator):
    """Calls the function for each record, and its ``on_timer`` for each timer; puts out the items of what they return.

    Timers of event time fire once the watermark has reached them, in the order of their times. At the end of input all
    that are set fire, those of event time first. What these set in turn for an event time fires as well, up to the
    latest that was known when the input ended: so nothing is lost where timers put out one by one what was gathered,
    and a timer that repeats itself for ever comes to its end.
    """

    context_type = ProcessContext
    context: ProcessContext

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        assert isinstance(context, ProcessContext)
        context._process = self
        self._timers: dict[TimeKind, TimerQueue] = {"event": TimerQueue(), "processing": TimerQueue()}
        self._event, self._processing = self._timers["event"], self._timers["processing"]
        self._usable: dict[TimeKind, TimerQueue] = {}  # those that can be set
        self._ended = False
        self._last = MIN_TIME  # once time is over: the latest event time that a timer may be set for
        self._firing: TimeKind | None = None  # which timers fire now
        self._fires_at = MIN_TIME  # up to when they have fired
        self._at_once: dict[Any, int] = {}  # by key, how many were set for that time or before, since it has come
        self._on_timer: Callable[[Timer], Any] = _ignored

    def build(self) -> None:
        super().build()
        if self.spec.function.form != "callable":
            self._on_timer = getattr(self.function, "on_timer", _ignored)

    def open(self) -> None:
        self._usable = self._timers if self.has_timed_input else {"processing": self._processing}
        super().open()

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        self._set_context(code, flow)
        if flow.time:
            seen = code.kept("seen", f"{code.bind('process', self)}.seen")
            with code.block(f"if {flow.time} is not None and {flow.time} > {seen}:"):
                code.line(f"{seen} = {flow.time}")
        item, count, stem = code.name("item"), code.counter("processed"), self.spec.kind
        function = self._function_of(flow.input)
        with self.calling(code, stem, flow.value, flow.value, function=function, wrap=self._expand) as results:
            code.line(f"{count} += len({results})")
            with code.block(f"for {item} in {results}:"):
                emit(Flow(item, count, time=flow.time))
                self.leaving_if_cancelled(code)

    def _function_of(self, input: int) -> Callable[[Any], Any]:
        return self.execute

    def _expand(self, result: Any) -> Sequence[Any]:
        return () if result is None else outputs_of(result, self.goes_on, "a process function")

    @property
    def sets_back(self) -> bool:
        return True  # timers, too

    def set_timer(self, at: int, time: TimeKind) -> None:
        states, key = self.states, self.context.key
        timers = self._usable.get(time) if states.has_key else None
        if timers is None:
            raise self._no_timers(time)
        if self._firing is not None and not self._may_follow(at, time, key):
            return
        if timers.add(at, key):
            if states.journal is not None:
                states.journal.append(partial(timers.remove, at, key))
            if time == "processing":
                self.wake_at(timers.first)

    def delete_timer(self, at: int, time: TimeKind) -> None:
        states, key = self.states, self.context.key
        timers = self._usable.get(time) if states.has_key else None
        if timers is None:
            raise self._no_timers(time)
        if timers.remove(at, key) and states.journal is not None:
            states.journal.append(partial(timers.add, at, key))

    def _no_timers(self, time: str) -> TimerError:
        if time not in self._timers:
            return TimerError(f"a timer's time is 'event' or 'processing', not {time!r}")
        if not self.states.has_key:
            return TimerError(
                "a timer belongs to a key, and there is none: outside of execute() and on_timer(), or for a record of"
                " an input without keyby",
                hint="put keyby(…) before each input whose records set timers",
            )
        return TimerError(
            f"{self.spec.title} has no event time: its records carry none, and no timer of it would ever fire",
            hint="call assign_timestamps(…) before, or set the timer with time='processing'",
        )

    def _may_follow(self, at: int, time: TimeKind, key: Any) -> bool:
        """Whether a timer is to fire that is set while others do.

        Raises:
            TimerError: it is for what is past, again and again: it would be called before anything else for ever.
        """
        if self._ended and (time == "processing" or at > self._last):
            return False
        if time == self._firing and at <= self._fires_at:
            count = self._at_once[key] = self._at_once.get(key, 0) + 1
            if count > _MOST_AT_ONCE:
                raise TimerError(
                    f"on_timer of {self.spec.title} sets timers for times that have come already, {_MOST_AT_ONCE:,} in"
                    f" a row: the last for {to_seconds(at):.15g}, where it is {to_seconds(self._fires_at):.15g}",
                    hint="set the next timer later than the one that fires: timer.at + …",
                )
        return True

    @property
    def is_due(self) -> bool:
        first = self._event.first
        return first is not None and first <= self.watermark and not self._ended

    def end_time(self) -> None:
        super().end_time()
        self._ended = True

    def firing(self) -> Firing:
        if self._ended:
            self._last = max(self._reached, self.seen, max(self._event.by_time, default=MIN_TIME))
        now = MAX_TIME if self._ended else self.now()
        yield from self._fire("event", self.watermark)
        if self._processing:
            # Records that a clock's time has made have the earliest event time that is not over.
            over = self._reached + 1 if self.has_timed_input and self._reached > MIN_TIME else None
            for records, _ in self._fire("processing", now):
                yield records, over
            if self._ended:
                yield from self._fire("event", self.watermark)
        self.wake_at(self._processing.first)

    def _fire(self, time: TimeKind, upto: int) -> Firing:
        at_once, called, is_event = self._at_once, self._called, time == "event"
        self._firing, self._fires_at = time, MIN_TIME
        for at, key in self._timers[time].pop_due(upto):
            if at > self._fires_at:
                self._fires_at = at
                if at_once:
                    at_once.clear()
            timer = _as_timer((at / MICROS, time))
            made = self.call_firing(key, at if is_event else None, called, timer)
            yield (() if made is GIVEN_UP else made), at
        self._firing = None
        at_once.clear()

    def _called(self, timer: Timer) -> Sequence[Any]:
        return self._expand(self._on_timer(timer))

    @property
    def keeps(self) -> bool:
        return True

    def kept(self) -> Iterator[Kept]:
        yield from super().kept()
        for time, timers in self._timers.items():
            yield Kept(f"timers of {time} time", timers.by_time, len(timers))

    def save_timers(self) -> dict[Any, list[tuple[str, int]]]:
        found: dict[Any, list[tuple[str, int]]] = {}
        for time, timers in self._timers.items():
            for at, key in timers.items():
                found.setdefault(key, []).append((time, at))
        return found

    def restore_timers(self, saved: Mapping[Any, Any]) -> None:
        for key, timers in saved.items():
            for time, at in timers:
                self._timers[time].add(at, key)
        self.wake_at(self._processing.first)


class CoProcessOperator(ProcessOperator):
    """A method for each of several connected streams, with state and timers in common."""

    def _function_of(self, input: int) -> Callable[[Any], Any]:
        method: Callable[[Any], Any] = getattr(self.function, f"process{input}")
        return method


def _ignored(timer: Timer) -> None:
    """A function without ``on_timer`` is not called at its timers."""
