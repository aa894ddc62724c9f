"""Sessions: windows of each key by itself, which grow with its records and grow together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.timed import Firing
from sage.core.engine.operators.windows.base import Due, WindowedOperator
from sage.core.engine.operators.windows.spans import as_window, micros
from sage.core.engine.timers import TimerQueue
from sage.core.graph.model import Operator

__all__ = ["SessionOperator"]


class _Session:
    """One session of a key.

    Attributes:
        start, end: from its first record to the gap after its last one.
        value: what its records come to; `MISSING` if it was emptied.
        count: records that have come since it fired.
        alarm: the event time at which it is looked at; not after it has something to do.
        fire_at: the processing time at which it is to fire; None for none.
        passed: whether its end has passed, and it has fired if it does then.
    """

    __slots__ = ("alarm", "count", "end", "fire_at", "passed", "start", "value")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.value: Any = MISSING
        self.count = 0
        self.alarm = MAX_TIME
        self.fire_at: int | None = None
        self.passed = False


class _Several(list[_Session]):
    """The sessions of a key that has more than one, in order. Most have one, which stands alone to save memory."""

    __slots__ = ()


class SessionOperator(WindowedOperator):
    """Sessions by event or processing time, with any trigger.

    Each session has one alarm. It is not moved with each record: a session that has grown is looked at when it would
    have ended before, and given its next alarm then.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._gap = micros(self.window["gap"])
        self._sessions: dict[Any, _Session | _Several] = {}
        self._alarms = TimerQueue()  # of keys, in the time of the windows
        self._timers = TimerQueue()  # of keys, in processing time, by the trigger

    def _of(self, key: Any) -> list[_Session]:
        found = self._sessions.get(key)
        return [] if found is None else [found] if type(found) is _Session else list(found)  # type: ignore[arg-type]

    def _keep(self, key: Any, sessions: list[_Session]) -> None:
        if len(sessions) == 1:
            self._sessions[key] = sessions[0]
        elif sessions:
            self._sessions[key] = _Several(sorted(sessions, key=lambda session: session.start))
        else:
            self._sessions.pop(key, None)

    def add(self, record: Any, key: Any, time: int | None) -> Due:
        time, progress = self.arriving(time)
        end = time + self._gap
        found = self._sessions.get(key)
        if type(found) is _Session and found.start <= time <= found.end and not found.passed:  # the most usual
            found.value = self.fold.add(found.value, record)
            if end > found.end:
                found.end = end
            return self._added(key, found, progress)
        sessions = self._of(key)
        touched = [session for session in sessions if time <= session.end and session.start <= end]
        if not touched and end - 1 + self.lateness <= progress:
            self.drop_late(record)
            return ()
        value: Any = MISSING
        for session in touched:
            if session.value is not MISSING:
                value = session.value if value is MISSING else self.fold.merge(value, session.value)
        value = self.fold.add(value, record)
        if touched:
            one = touched[0]
            for other in touched[1:]:
                one.count += other.count
                self._join_timers(one, other)
            one.start, one.end = min(one.start, time), max(touched[-1].end, end)
        else:
            one = _Session(time, end)
        one.value = value
        if len(touched) != 1:
            self._keep(key, [*(session for session in sessions if session not in touched), one])
        return self._added(key, one, progress)

    def _join_timers(self, one: _Session, other: _Session) -> None:
        """Let the alarm and the timer of a session that goes on be those of one that has grown together with it."""
        if other.alarm < one.alarm:
            one.alarm = other.alarm
        if other.fire_at is not None and (one.fire_at is None or other.fire_at < one.fire_at):
            one.fire_at = other.fire_at

    def _added(self, key: Any, session: _Session, progress: int) -> Due:
        """What is to be done with a session that a record was added to."""
        session.count += 1
        trigger, last = self.trigger, session.end - 1
        session.passed = last <= progress
        alarm = last if trigger.at_end and not session.passed else last + self.lateness
        if alarm < session.alarm:
            session.alarm = alarm
            self._alarms.add(alarm, key)
            self._set_deadline()
        rule = trigger.late if session.passed else trigger.early
        if rule is None:
            return ()
        if rule.count:
            return ((key, session),) if session.count >= rule.count else ()
        if session.fire_at is None:
            session.fire_at = self.now() + rule.after
            self._timers.add(session.fire_at, key)
            self._set_deadline()
        return ()

    # ---- saving ----

    def held(self) -> tuple[Mapping[Any, Any], int]:
        return self._sessions, len(self._sessions)

    def saved_by_key(self) -> dict[Any, Any]:
        return {
            key: [
                (one.start, one.end, () if one.value is MISSING else (one.value,), one.count, one.fire_at, one.passed)
                for one in self._of(key)
            ]
            for key in self._sessions
        }

    def restore_by_key(self, items: Sequence[tuple[Any, Any]]) -> None:
        for key, states in items:
            sessions = []
            for start, end, held, count, fire_at, passed in states:
                session = _Session(start, end)
                session.value = held[0] if held else MISSING
                session.count, session.fire_at, session.passed = count, fire_at, passed
                session.alarm = end - 1 if self.trigger.at_end and not passed else end - 1 + self.lateness
                self._alarms.add(session.alarm, key)
                if fire_at is not None:
                    self._timers.add(fire_at, key)
                sessions.append(session)
            self._keep(key, sessions)
        self._set_deadline()

    # ---- firing ----

    @property
    def is_due(self) -> bool:
        first = self._alarms.first
        return not self.is_ending and ((first is not None and first <= self.progress()) or self._timer_is_due())

    def _timer_is_due(self) -> bool:
        first = self._timers.first
        return first is not None and (self.is_ending or first <= self.now())

    def fire(self, due: Due) -> Firing:
        for key, session in due:
            yield from self._fire_session(key, session)

    def _fire_session(self, key: Any, session: _Session) -> Firing:
        at, session.fire_at, session.count = session.fire_at, None, 0
        if at is not None and all(other.fire_at != at for other in self._of(key)):
            self._timers.remove(at, key)  # or it would stay for as long as it was set for, after the session has gone
        value = session.value
        if value is not MISSING:
            if not self.trigger.accumulate:
                session.value = MISSING
            yield self.put_out(key, as_window(session.start, session.end), value, session.end - 1)

    def firing(self) -> Firing:
        while True:
            progress, first = self.progress(), self._alarms.first
            if first is not None and first <= progress:
                for alarm, key in self._alarms.pop_due(progress):
                    for session in self._of(key):
                        if session.alarm == alarm:
                            yield from self._look_at(key, session)
            elif self._timer_is_due():
                for at, key in self._timers.pop_due(MAX_TIME if self.is_ending else self.now()):
                    for session in self._of(key):
                        if session.fire_at == at:
                            yield from self._fire_session(key, session)
            else:
                break
        self._set_deadline()

    def _look_at(self, key: Any, session: _Session) -> Firing:
        """Its alarm has come: fire, let go, or wait for longer."""
        last = session.end - 1
        if not session.passed and self.trigger.at_end:
            if last > session.alarm:  # it has grown meanwhile
                session.alarm = last
                self._alarms.add(last, key)
                return
            session.passed = True
            yield from self._fire_session(key, session)
        gone = last + self.lateness
        if gone > session.alarm:
            session.alarm = gone
            self._alarms.add(gone, key)
            return
        self._keep(key, [other for other in self._of(key) if other is not session])
        if session.count and (self.trigger.at_end or session.fire_at is not None):
            yield from self._fire_session(key, session)

    def _set_deadline(self) -> None:
        first = self._timers.first
        alarm = self._alarms.first
        if self.by_clock and alarm is not None:
            first = alarm + 1 if first is None else min(first, alarm + 1)
        self.wake_at(first)
