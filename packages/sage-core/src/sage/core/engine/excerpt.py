"""The beginning of a value's ``repr``, at a price that does not grow with the value.

A record may be a gigabyte of bytes, whose ``repr`` takes four. Of Python's own texts, bytes and containers no more is
looked at than is shown; what other objects say of themselves is up to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import CodeType
from typing import Any

__all__ = ["excerpt", "is_generated"]

_FLAT: dict[type, str] = {str: "characters", bytes: "bytes", bytearray: "bytes"}
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}
_DEEPEST = 20

_MAKER = "__create_fn__."
"""The function within which the decorator of dataclasses makes methods, in CPython 3.11 to 3.14."""


def excerpt(value: Any, limit: int) -> str:
    """``repr(value)``; of a longer one the first ``limit`` characters, and how large the value is.

    Raises:
        BaseException: whatever the ``repr`` of an object of the user's raises.
    """
    text = _begin(value, limit + 1, ())
    if len(text) <= limit:
        return text
    kind = type(value)
    if kind in _FLAT or kind in _BRACKETS:
        return f"{text[:limit]}… ({len(value):,} {_FLAT.get(kind, 'items')})"
    return f"{text[:limit]}…" if _has_generated_repr(kind) else f"{text[:limit]}… ({len(text):,} characters)"


def _begin(value: Any, room: int, inside: tuple[int, ...]) -> str:
    """The ``repr``, which may end early once it has ``room`` characters; ``inside`` are the ids of what it is in."""
    kind = type(value)
    if kind in _FLAT:
        return repr(value[:room])  # each item makes a character at least
    is_generated = _has_generated_repr(kind)
    if kind not in _BRACKETS and not is_generated:
        return str.__str__(repr(value))  # a subclass of str would bring methods of the user's
    start, end = (f"{kind.__qualname__}(", ")") if is_generated else _BRACKETS[kind]
    if id(value) in inside:
        return "..." if is_generated else f"{start}...{end}"
    if len(inside) == _DEEPEST or (kind in _BRACKETS and not value):
        return repr(value)
    parts = []
    for text in _parts(value, room, (*inside, id(value)), is_generated=is_generated):
        parts.append(text)
        room -= len(text) + 2
        if room <= 0:
            break
    comma = "," if kind is tuple and len(value) == 1 else ""
    return f"{start}{', '.join(parts)}{comma}{end}"


def _parts(value: Any, room: int, inside: tuple[int, ...], *, is_generated: bool) -> Iterator[str]:
    if is_generated:
        for field in dataclasses.fields(value):
            if field.repr:
                yield f"{field.name}={_begin(getattr(value, field.name), room, inside)}"
    elif type(value) is dict:
        for key, item in value.items():
            yield f"{_begin(key, room, inside)}: {_begin(item, room, inside)}"
    else:
        for item in value:
            yield _begin(item, room, inside)


def is_generated(method: Any) -> bool:
    """Whether a dataclass's method was made by the decorator: it keeps one that the class defines itself."""
    code = getattr(method, "__code__", None)
    # The file alone tells nothing: that of a program given to `python -c` has this name too.
    return isinstance(code, CodeType) and code.co_filename == "<string>" and code.co_qualname.startswith(_MAKER)


def _has_generated_repr(kind: type) -> bool:
    made = getattr(vars(type)["__dict__"].__get__(kind).get("__repr__"), "__wrapped__", None)
    return is_generated(made) and dataclasses.is_dataclass(kind)
