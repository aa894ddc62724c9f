"""``process``: functions that see time and state, and that are called again when it is time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME, MICROS, MIN_TIME, to_seconds
from sage.core.engine.functions import outputs_of
from sage.core.engine.operators.base import Emit, Flow
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.process_context import ProcessContext, TimeDomain, Timer
from sage.core.engine.recovery import GIVEN_UP
from sage.core.engine.state_size import Kept
from sage.core.engine.timers import TimerQueue
from sage.core.errors import TimerError
from sage.core.graph.model import Operator

__all__ = ["CoProcessOperator", "ProcessOperator"]

_MOST_AT_ONCE = 10_000
"""Times that one key's timer may be set anew for its own instant while that is."""


class ProcessOperator(TimedOperator):
    """Calls the function for each record, and its ``on_timer`` for each timer; puts out the items of what they return.

    Timers of event time fire once the watermark has reached them, in the order of their times. At the end of input all
    that are set fire, those of event time first. What these set in turn for an event time fires as well, up to the
    latest that was known when the input ended: so nothing is lost where timers put out one by one what was gathered,
    and a timer that repeats itself for ever comes to its end.

    Attributes:
        seen: the latest event time of a record.
    """

    context_type = ProcessContext
    context: ProcessContext

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        assert isinstance(context, ProcessContext)
        context._process = self
        self._timers: dict[TimeDomain, TimerQueue] = {"event": TimerQueue(), "processing": TimerQueue()}
        self._event, self._processing = self._timers["event"], self._timers["processing"]
        self._ended = False
        self._fires_last = False  # time is over, and what is left fires
        self.seen = MIN_TIME
        self._set_for = MIN_TIME  # the latest event time that a timer was set for
        self._firing: tuple[TimeDomain | None, int] = (None, MIN_TIME)  # the latest timer of those that fire now
        self._at_once: dict[Any, int] = {}  # by key, how many were set for that time or before, since it has come
        self._on_timer: Callable[[Timer], Any] = _ignored

    def build(self) -> None:
        super().build()
        if self.spec.function.form != "callable":
            self._on_timer = getattr(self.function, "on_timer", _ignored)

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
        return outputs_of(result, self.goes_on, "a process function")

    def set_timer(self, time: int, domain: TimeDomain) -> None:
        is_event, states = domain == "event", self.states
        timers = self._event if is_event and self.has_timed_input and states.has_key else self._timers_of(domain)
        if self._fires_last:
            if not is_event or time > max(self._reached, self.seen, self._set_for):
                return
        elif is_event and time > self._set_for:
            self._set_for = time
        key = self.context.key
        if domain == self._firing[0] and time <= self._firing[1]:
            self._count_at_once(time, key)
        if timers.add(time, key):
            if states.journal is not None:
                states.journal.append(partial(timers.remove, time, key))
            if not is_event:
                self.wake_at(self._processing.first)

    def delete_timer(self, time: int, domain: TimeDomain) -> None:
        timers, key = self._timers_of(domain), self.context.key
        if timers.remove(time, key) and self.states.journal is not None:
            self.states.journal.append(partial(timers.add, time, key))

    def _timers_of(self, domain: TimeDomain) -> TimerQueue:
        if domain not in self._timers:
            raise TimerError(f"a timer's time is 'event' or 'processing', not {domain!r}")
        if not self.states.has_key:
            raise TimerError(
                "a timer belongs to a key, and there is none: outside of execute() and on_timer(), or for a record of"
                " an input without keyby",
                hint="put keyby(…) before each input whose records set timers",
            )
        if domain == "event" and not self.has_timed_input:
            raise TimerError(
                f"{self.spec.title} has no event time: its records carry none, and no timer of it would ever fire",
                hint="call assign_timestamps(…) before, or set the timer with time='processing'",
            )
        return self._timers[domain]

    def _count_at_once(self, time: int, key: Any) -> None:
        """A function that sets a timer for what is past, while one fires, is called again before anything else."""
        count = self._at_once[key] = self._at_once.get(key, 0) + 1
        if count > _MOST_AT_ONCE:
            raise TimerError(
                f"on_timer of {self.spec.title} sets timers for times that have come already, {_MOST_AT_ONCE:,} in a"
                f" row: the last for {to_seconds(time):.15g}, where it is {to_seconds(self._firing[1]):.15g}",
                hint="set the next timer later than the one that fires: timer.time + …",
            )

    @property
    def is_due(self) -> bool:
        first = self._event.first
        return first is not None and first <= self.watermark and not self._ended

    def end_time(self) -> None:
        super().end_time()
        self._ended = True

    def firing(self) -> Iterator[tuple[Sequence[Any], int | None]]:
        self._fires_last = self._ended
        now = MAX_TIME if self._ended else self.now()
        yield from self._firing_of("event", self.watermark)
        if self._processing:
            # Records that a clock's time has made have the earliest event time that is not over.
            over = self._reached + 1 if self.has_timed_input and self._reached > MIN_TIME else None
            for records, _ in self._firing_of("processing", now):
                yield records, over
            if self._ended:
                yield from self._firing_of("event", self.watermark)
        self._fires_last = False  # in a loop records may come round, and set timers again
        self.wake_at(self._processing.first)

    def _firing_of(self, domain: TimeDomain, upto: int) -> Iterator[tuple[Sequence[Any], int]]:
        latest = MIN_TIME
        for time, key in self._timers[domain].pop_due(upto):
            if time > latest:
                latest = time
                self._at_once.clear()
            self._firing = domain, latest
            yield self._fire(time, key, domain), time
        self._firing = None, MIN_TIME
        self._at_once.clear()

    def _fire(self, time: int, key: Any, domain: TimeDomain) -> Sequence[Any]:
        context, states, timer = self.context, self.states, Timer(time / MICROS, domain)
        context.key = key
        context._time = time if domain == "event" else None
        states.has_key = True
        if self.recovery is None and not states:  # the quick way
            made = self._on_timer(timer)
            return () if made is None else self._expand(made)
        result = self.call_firing(lambda timer: self._expand(self._on_timer(timer)), timer)
        return () if result is GIVEN_UP else result

    @property
    def keeps(self) -> bool:
        return True

    def kept(self) -> Iterator[Kept]:
        yield from super().kept()
        for domain, timers in self._timers.items():
            yield Kept(f"timers of {domain} time", timers.by_time, len(timers))

    def save_timers(self) -> dict[Any, list[tuple[str, int]]]:
        found: dict[Any, list[tuple[str, int]]] = {}
        for domain, timers in self._timers.items():
            for time, key in timers.items():
                found.setdefault(key, []).append((domain, time))
        return found

    def restore_timers(self, saved: Mapping[Any, Any]) -> None:
        for key, timers in saved.items():
            for domain, time in timers:
                self._timers["event" if domain == "event" else "processing"].add(time, key)
        self.wake_at(self._processing.first)


class CoProcessOperator(ProcessOperator):
    """A method for each of several connected streams, with state and timers in common."""

    def _function_of(self, input: int) -> Callable[[Any], Any]:
        method: Callable[[Any], Any] = getattr(self.function, f"process{input}")
        return method


def _ignored(timer: Timer) -> None:
    """A function without ``on_timer`` is not called at its timers."""
