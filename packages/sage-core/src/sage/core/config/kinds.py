"""The kinds of value a setting may have: each says what it takes, checks it, and writes it back plainly.

Kinds are small frozen dataclasses, so that ``repr`` tells what they check. `Kind.check` takes what YAML gives
and returns what the program works with (``"10s"`` → ``10.0``); `Kind.plain` is the way back.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

__all__ = [
    "Choice",
    "Duration",
    "FilePath",
    "Flag",
    "Integer",
    "Invalid",
    "Kind",
    "Leaf",
    "ListOf",
    "Maybe",
    "Number",
    "Record",
    "Size",
    "Text",
    "shown",
]

T = TypeVar("T")

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", re.ASCII)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)\s*", re.ASCII)
_BYTES = {
    "TiB": 1 << 40,
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "kB": 10**3,
    "B": 1,
}
_SHOWN = 60


class Invalid(ValueError):
    """A value is not of its kind; the message completes "daemon -> port: …"."""


def shown(value: object) -> str:
    """`value` as an error names it: its ``repr``, cut to one short line."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class Kind(ABC, Generic[T]):
    """What a setting may be.

    Attributes:
        takes_text: a bare word or number given on a command line or in a variable is meant as it is written,
            though YAML would read ``12`` as a number.
    """

    takes_text: ClassVar[bool] = False

    @property
    @abstractmethod
    def text(self) -> str:
        """What it takes, in words, as the reference and errors name it."""

    def plain(self, value: T) -> Any:
        """`value` as JSON and YAML can carry it, and as a file would say it."""
        return value

    def _refuse(self, value: object) -> Invalid:
        return Invalid(f"needs {self.text}, got {shown(value)}")


class Leaf(Kind[T]):
    """A kind without parts."""

    @abstractmethod
    def check(self, value: object) -> T:
        """Return the value to work with.

        Raises:
            Invalid: `value` is not of this kind.
        """


@dataclass(frozen=True)
class Flag(Leaf[bool]):
    """``true`` or ``false``."""

    @property
    def text(self) -> str:
        return "true or false"

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self._refuse(value)
        return value


@dataclass(frozen=True)
class Integer(Leaf[int]):
    """A whole number within bounds, both included."""

    low: int = 0
    high: int | None = None

    @property
    def text(self) -> str:
        return f"a whole number {_range(self.low, self.high)}"

    def check(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refuse(value)
        if value < self.low or (self.high is not None and value > self.high):
            raise self._refuse(value)
        return value


@dataclass(frozen=True)
class Number(Leaf[float]):
    """A finite number, `low` included."""

    low: float = 0.0

    @property
    def text(self) -> str:
        return f"a number of at least {self.low:g}"

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse(value)
        if not math.isfinite(value) or value < self.low:
            raise self._refuse(value)
        return float(value)


@dataclass(frozen=True)
class Duration(Leaf[float]):
    """A span of time in seconds, written ``500ms``, ``10s``, ``5m``, ``2h``, ``1d`` or as a number of seconds."""

    low: float = 0.001
    takes_text = True

    @property
    def text(self) -> str:
        return "a duration such as 500ms, 10s, 5m or 2h"

    def check(self, value: object) -> float:
        seconds: float
        if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
            seconds = float(match[1]) * _SECONDS[match[2]]
        elif (isinstance(value, str) and _is_number(value)) or (
            isinstance(value, int | float) and not isinstance(value, bool)
        ):
            seconds = float(value)
        else:
            raise self._refuse(value)
        if not math.isfinite(seconds) or seconds < self.low:
            raise Invalid(f"needs a duration of at least {self.plain(self.low)}, got {shown(value)}")
        return seconds

    def plain(self, value: float) -> str:
        for unit, seconds in _SECONDS.items():
            count = value / seconds
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True)
class Size(Leaf[int]):
    """A number of bytes, written ``64MiB``, ``10GB`` or as a whole number."""

    low: int = 1
    takes_text = True

    @property
    def text(self) -> str:
        return "a size such as 64MiB, 10GB or a number of bytes"

    def check(self, value: object) -> int:
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            size = int(match[1]) * _BYTES[match[2]]
        elif isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            size = int(value.strip())  # int() takes fewer characters for blanks than strip() does
        elif isinstance(value, int) and not isinstance(value, bool):
            size = value
        else:
            raise self._refuse(value)
        if size < self.low:
            raise Invalid(f"needs a size of at least {self.plain(self.low)}, got {shown(value)}")
        return size

    def plain(self, value: int) -> str | int:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if value >= _BYTES[unit] and value % _BYTES[unit] == 0:
                return f"{value // _BYTES[unit]}{unit}"
        return value


@dataclass(frozen=True)
class Text(Leaf[str]):
    """Text that is not empty and, with `pattern`, fits it whole; `what` names it in words."""

    what: str = "text"
    pattern: str | None = None
    takes_text = True

    @property
    def text(self) -> str:
        return self.what

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._refuse(value)
        if not value.isprintable() or (self.pattern is not None and not re.fullmatch(self.pattern, value)):
            raise self._refuse(value)
        return value


@dataclass(frozen=True)
class Choice(Leaf[str]):
    """One of a few words."""

    words: tuple[str, ...]
    takes_text = True

    @property
    def text(self) -> str:
        return f"one of {', '.join(self.words)}"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise self._refuse(value)
        return value


@dataclass(frozen=True)
class FilePath(Leaf[Path]):
    """An absolute path on this host; ``~`` is the user's home.

    A relative one is refused: the commands and the daemon do not share a working folder.
    """

    takes_text = True

    @property
    def text(self) -> str:
        return "an absolute path (it may begin with ~)"

    def check(self, value: object) -> Path:
        if not isinstance(value, str | Path) or not str(value).strip() or not str(value).isprintable():
            raise self._refuse(value)
        try:
            path = Path(value).expanduser()
        except RuntimeError as error:
            raise Invalid(f"needs {self.text}, got {shown(value)}: {error}") from error
        if not path.is_absolute():
            raise self._refuse(value)
        return path

    def plain(self, value: Path) -> str:
        return str(value)


@dataclass(frozen=True)
class Maybe(Leaf[T | None]):
    """`kind`, or null for "not set"."""

    kind: Leaf[T]

    @property
    def takes_text(self) -> bool:  # type: ignore[override]
        return self.kind.takes_text

    @property
    def text(self) -> str:
        return f"{self.kind.text}, or null"

    def check(self, value: object) -> T | None:
        return None if value is None else self.kind.check(value)

    def plain(self, value: T | None) -> Any:
        return None if value is None else self.kind.plain(value)


@dataclass(frozen=True)
class ListOf(Kind[tuple[T, ...]]):
    """A list whose items are all of `kind`."""

    kind: Kind[T]

    @property
    def text(self) -> str:
        return f"a list, each item {self.kind.text}"

    def items(self, value: object) -> Sequence[object]:
        """The items of `value`, yet unchecked; null is the empty list."""
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self._refuse(value)
        return value

    def plain(self, value: tuple[T, ...]) -> list[Any]:
        return [self.kind.plain(item) for item in value]


@dataclass(frozen=True)
class Record(Kind[T]):
    """A mapping with the fields of a dataclass, each of which names its own kind in its metadata."""

    cls: type[T]

    @property
    def text(self) -> str:
        return f"a mapping of {', '.join(self.fields)}"

    @property
    def fields(self) -> dict[str, Field[Any]]:
        """The dataclass's fields by name; ``metadata`` has ``kind`` and ``help``."""
        found: dict[str, Field[Any]] = self.cls.__dataclass_fields__  # type: ignore[attr-defined]
        return found

    @property
    def required(self) -> list[str]:
        """Fields without a default."""
        return [n for n, f in self.fields.items() if f.default is MISSING and f.default_factory is MISSING]

    def kind(self, name: str) -> Kind[Any]:
        kind: Kind[Any] = self.fields[name].metadata["kind"]
        return kind

    def items(self, value: object) -> Mapping[Any, object]:
        """The entries of `value`, yet unchecked; null (every line commented out) is the empty mapping."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._refuse(value)
        return value

    def plain(self, value: T) -> dict[str, Any]:
        return {name: self.kind(name).plain(getattr(value, name)) for name in self.fields}


def _range(low: int, high: int | None) -> str:
    return f"of at least {low}" if high is None else f"from {low} to {high}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII) is not None
