"""Windows and triggers as an operator's options hold them: plain values, of which graphs are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sage.core.api.windows import AfterCount, AfterTime, AtEnd, Count, Global, Session, Sliding, Tumbling
from sage.core.graph.durations import seconds

__all__ = ["trigger_options", "window_options"]

_WINDOWS: Mapping[str, type[Any]] = {
    "tumbling": Tumbling,
    "sliding": Sliding,
    "session": Session,
    "count": Count,
    "global": Global,
}
_TRIGGERS: Mapping[str, type[Any]] = {"at_end": AtEnd, "after_count": AfterCount, "after_time": AfterTime}


def window_options(window: object) -> Mapping[str, Any]:
    """The kind of a window and its fields; what is no window is noted, to be reported with all else that is wrong."""
    return _options(window, _WINDOWS)


def trigger_options(trigger: object) -> Mapping[str, Any] | None:
    """The same of a trigger."""
    if trigger is None:
        return None
    options = dict(_options(trigger, _TRIGGERS))
    if options["kind"] == "at_end":
        options |= {part: trigger_options(options[part]) for part in ("early", "late")}
    return options


def _options(given: object, kinds: Mapping[str, type[Any]]) -> Mapping[str, Any]:
    for kind, made in kinds.items():
        if isinstance(given, made):
            return {"kind": kind} | {field.name: seconds(getattr(given, field.name)) for field in fields(made)}
    what = f"the class {given.__name__}: write {given.__name__}(…)" if isinstance(given, type) else f"{given!r:.100}"
    return {"kind": "unknown", "given": what}
