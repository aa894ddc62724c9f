"""Windows, triggers and lateness as an operator's options tell them, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sage.core.graph.durations import is_duration

__all__ = [
    "LATE",
    "MAX_OVERLAP",
    "WINDOW_KINDS",
    "is_event_window",
    "window_title",
    "wrong_in_window",
    "wrong_in_windowed",
]

LATE: Final = "late"
"""The tag of the side output for records that come after all their windows are gone."""

WINDOW_KINDS: Final = frozenset({"window_reduce", "window_aggregate", "window_process"})
"""Kinds of operators that fold the records of a window."""

MAX_OVERLAP: Final = 10_000
"""How many sliding windows a record may be in."""

_WINDOWS = {
    "tumbling": "Tumbling",
    "sliding": "Sliding",
    "session": "Session",
    "count": "Count",
    "global": "Global",
}
_TRIGGERS = {"at_end": "AtEnd", "after_count": "AfterCount", "after_time": "AfterTime"}


def is_event_window(window: Mapping[str, Any]) -> bool:
    """Whether windows are cut by the times that records carry."""
    return window["kind"] in ("tumbling", "sliding", "session") and window["time"] == "event"


def window_title(window: Mapping[str, Any]) -> str:
    """A window as the user wrote it, for people."""
    given = ", ".join(
        str(value) for name, value in window.items() if name in ("size", "slide", "gap", "every") and value
    )
    return f"{_WINDOWS.get(window['kind'], 'a window')}({given})"


def wrong_in_windowed(options: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What is wrong with ``window(…)``, each with a hint or None."""
    window, trigger, lateness = options["window"], options["trigger"], options["allowed_lateness"]
    kind = window["kind"]
    yield from wrong_in_window(window)
    if trigger is not None:
        yield from _wrong_in_trigger(trigger, "trigger")
        if kind == "count":
            yield "a count window has no trigger besides its count", "Global() takes a trigger"
    elif kind == "global":
        yield (
            "Global() never ends, so nothing would ever come out of it without a trigger",
            "trigger=AfterCount(…) or AfterTime(…); or AtEnd(), which fires at the end of input",
        )
    if not is_duration(lateness):
        yield f"allowed_lateness must be a number of seconds from 0, or a timedelta, not {lateness!r}", None
    elif lateness and kind in _WINDOWS and not is_event_window(window):
        yield f"allowed_lateness is for windows in event time: in {_in_what(window)} no record is late", None
    elif trigger is not None and trigger.get("late") is not None and not lateness:
        yield "late=… has no effect without allowed_lateness: late records are dropped", "allowed_lateness=…"
    if not isinstance(options["with_window"], bool):
        yield f"with_window must be True or False, not {options['with_window']!r}", None


def wrong_in_window(window: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What is wrong with the window itself, each with a hint or None."""
    kind = window["kind"]
    if kind not in _WINDOWS:
        yield f"takes Tumbling(…), Sliding(…), Session(…), Count(…) or Global(), not {window['given']}", None
        return
    if kind == "count":
        yield from _wrong_counts(window["size"], window["every"])
        return
    if kind == "global":
        return
    if window["time"] not in ("event", "processing"):
        yield f"time must be 'event' or 'processing', not {window['time']!r}", None
    lengths = [name for name in ("size", "slide", "gap") if name in window]
    wrong = [name for name in lengths if not is_duration(window[name], above_zero=True)]
    for name in wrong:
        yield (
            f"the {name} of {_WINDOWS[kind]} must be a number of seconds above 0, or a timedelta, not {window[name]!r}",
            None,
        )
    if wrong or kind == "session":
        return
    step, called = (window["size"], "size") if kind == "tumbling" else (window["slide"], "slide")
    if step > window["size"]:
        yield (
            f"the slide of Sliding, {step}, is larger than its size, {window['size']}:"
            " records between two windows would be lost",
            "filter(…) them out before, if that is meant",
        )
    elif kind == "sliding" and window["size"] / step > MAX_OVERLAP:
        yield (
            f"each record would be in {window['size'] / step:,.0f} windows, more than {MAX_OVERLAP:,}",
            "take a larger slide",
        )
    offset = window["offset"]
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not is_duration(abs(offset)):
        yield f"offset must be a number of seconds, or a timedelta, not {offset!r}", None
    elif abs(offset) >= step:
        yield f"offset must be less than the {called}, {step}, not {offset}", None


def _wrong_counts(size: object, every: object) -> Iterator[tuple[str, str | None]]:
    given = {"the size of Count": size} if every is None else {"the size of Count": size, "every of Count": every}
    wrong = {what: value for what, value in given.items() if not _is_count(value)}
    for what, value in wrong.items():
        yield f"{what} must be a whole number from 1, not {value!r}", None
    if not wrong and isinstance(size, int) and isinstance(every, int) and every > size:
        yield (
            f"every of Count, {every}, is larger than its size, {size}: records between two windows would be lost",
            None,
        )


def _wrong_in_trigger(trigger: Mapping[str, Any], what: str) -> Iterator[tuple[str, str | None]]:
    kind = trigger["kind"]
    if kind not in _TRIGGERS:
        yield f"{what} takes AtEnd(…), AfterCount(…) or AfterTime(…), not {trigger['given']}", None
        return
    if not isinstance(trigger["accumulate"], bool):
        yield f"accumulate must be True or False, not {trigger['accumulate']!r}", None
    if kind == "after_count" and not _is_count(trigger["count"]):
        yield f"{what}: the count of AfterCount must be a whole number from 1, not {trigger['count']!r}", None
    if kind == "after_time" and not is_duration(trigger["seconds"], above_zero=True):
        yield f"{what}: AfterTime takes a number of seconds above 0, or a timedelta, not {trigger['seconds']!r}", None
    for part in ("early", "late"):
        inner = trigger.get(part)
        if inner is None:
            continue
        if inner["kind"] not in ("after_count", "after_time"):
            given = inner.get("given") or f"{_TRIGGERS[inner['kind']]}(…)"
            yield f"{part} takes AfterCount(…) or AfterTime(…), not {given}", None
            continue
        yield from _wrong_in_trigger(inner, part)
        if inner["accumulate"] is False:
            yield f"accumulate=False belongs to the whole trigger: AtEnd({part}=…, accumulate=False)", None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _in_what(window: Mapping[str, Any]) -> str:
    kind = window["kind"]
    return "processing time" if kind in ("tumbling", "sliding", "session") else f"a {kind} window"
