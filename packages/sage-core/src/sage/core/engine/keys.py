"""Keys: which values may be keys, and which subtask looks after one.

Hash v1 (``crc32-v1`` in checkpoints) is CRC-32 over a canonical encoding in which equal keys encode equal,
whatever their type: ``1``, ``True``, ``1.0`` and NumPy's ``1`` are one key. It depends neither on
``PYTHONHASHSEED`` nor on the process. A key's hash modulo `MAX_PARALLELISM` is its *key group*; contiguous
ranges of groups go to subtasks, so that state can move when the parallelism changes.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import math
import uuid
import zlib
from collections.abc import Callable
from typing import Any

from sage.core.engine.excerpt import is_generated
from sage.core.errors import UnsupportedKeyError
from sage.core.graph.model import MAX_PARALLELISM

__all__ = ["PLAIN_KEY_TYPES", "KeyRouter", "admit_key", "key_group", "subtask_of_group"]

PLAIN_KEY_TYPES = frozenset({int, str, bytes, bool, type(None)})
"""Types whose every value may be a key: no look inside is needed."""

_MEMO_LIMIT = 1 << 16
"""Keys that a router remembers."""

_MEMO_LONGEST = 256
"""Bytes of an encoded key: longer ones are not remembered, which could keep any amount of memory."""


def key_group(key: Any) -> int:
    """The key group of ``key``, in ``range(MAX_PARALLELISM)``.

    Raises:
        UnsupportedKeyError: for NaN and for types without a canonical encoding.
    """
    return zlib.crc32(_encode(key)) % MAX_PARALLELISM


def subtask_of_group(group: int, parallelism: int) -> int:
    """The subtask that looks after ``group`` when there are ``parallelism`` of them."""
    return group * parallelism // MAX_PARALLELISM


def admit_key(key: Any) -> Any:
    """Check a key at the place where it enters the engine.

    Returns:
        the key itself, or what its ``__sage_key__()`` gives; also within a tuple and a frozen dataclass.

    Raises:
        UnsupportedKeyError: if it cannot be a key.
    """
    key = _own_key(key)
    _encode(key)
    try:
        hash(key)
    except TypeError as error:
        raise UnsupportedKeyError(
            f"a value that cannot be hashed cannot be a key: {error}",
            hint="make it of what cannot be changed: a tuple for a list, frozen=True for a dataclass",
        ) from None
    return key


def _own_key(key: Any) -> Any:
    own = getattr(type(key), "__sage_key__", None)
    if own is not None:
        plain = own(key)
        if hasattr(type(plain), "__sage_key__"):
            kind = type(key)
            raise UnsupportedKeyError(
                f"__sage_key__ of {kind.__module__}.{kind.__qualname__} returned an object with a __sage_key__, too",
                hint="return the plain key itself",
            )
        return plain
    if isinstance(key, tuple):
        parts = tuple(map(_own_key, tuple.__iter__(key)))
        if any(part is not item for part, item in zip(parts, tuple.__iter__(key), strict=True)):
            return parts
    elif (names := _compared_fields(type(key))) is not None:
        owned = {name: own for name in names if (own := _own_key(value := getattr(key, name))) is not value}
        if owned:
            key = copy.copy(key)
            for name, own in owned.items():
                object.__setattr__(key, name, own)  # it is frozen for others
    return key


class KeyRouter(dict[Any, int]):
    """The subtask of each key, found by ``router[key]``; it remembers a bounded number of answers.

    A dictionary that fills itself: what is known is found without a call of Python code.

    Args:
        parallelism: how many subtasks there are.
    """

    def __init__(self, parallelism: int) -> None:
        super().__init__()
        self._parallelism = parallelism

    def __missing__(self, key: Any) -> int:
        encoded = _encode(key)
        subtask = subtask_of_group(zlib.crc32(encoded) % MAX_PARALLELISM, self._parallelism)
        if len(encoded) <= _MEMO_LONGEST:
            if len(self) >= _MEMO_LIMIT:
                self.clear()
            self[key] = subtask
        return subtask


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + len(body).to_bytes(4, "big") + body


def _encode(key: Any) -> bytes:
    encoder = _ENCODERS.get(type(key))
    return encoder(key) if encoder else _encode_by_kind(key)


# A subclass may convert and write itself as it likes and still equal what its base does: the base's methods are asked.


def _encode_int(key: int) -> bytes:
    return _framed(b"i", b"%x" % int.__int__(key))  # hexadecimal: Python limits the digits of long decimals


def _encode_float(key: float) -> bytes:
    key = float.__float__(key)
    if math.isnan(key):
        raise UnsupportedKeyError(
            "NaN cannot be a key: it does not equal itself", hint="filter such records out, or map NaN to a value"
        )
    if key.is_integer():  # 1.0 == 1, and -0.0 == 0
        return _encode_int(int(key))
    return _framed(b"f", key.hex().encode())


def _encode_wide_float(key: Any) -> bytes:
    """NumPy's ``longdouble``: as a float where it equals one, as an integer where it equals one."""
    plain = float(key)
    if plain == key or math.isnan(plain):
        return _encode_float(plain)
    numerator, denominator = key.as_integer_ratio()
    return _encode_int(numerator) if denominator == 1 else _framed(b"q", b"%x/%x" % (numerator, denominator))


def _encode_str(key: str) -> bytes:
    return _framed(b"s", str.__str__(key).encode("utf-8", "surrogatepass"))


def _encode_bytes(key: bytes) -> bytes:
    return _framed(b"b", bytes.__bytes__(key))


def _encode_none(key: None) -> bytes:
    return _framed(b"n", b"")


def _encode_tuple(key: tuple[Any, ...]) -> bytes:
    return _framed(b"t", b"".join(map(_encode, tuple.__iter__(key))))


def _encode_uuid(key: uuid.UUID) -> bytes:
    return _framed(b"u", key.int.to_bytes(16, "big"))  # by which UUIDs are compared


def _encode_datetime(key: datetime.datetime) -> bytes:
    clock = datetime.datetime.timetz(key).replace(fold=0)  # equality and hash() do not look at it either
    key = datetime.datetime.combine(datetime.datetime.date(key), clock)
    offset = key.utcoffset()
    if offset is None:
        return _framed(b"d", key.isoformat().encode())
    since = key.replace(tzinfo=None) - datetime.datetime.min - offset  # unlike a date in UTC, this has no limits
    return _framed(b"z", f"{since.days} {since.seconds} {since.microseconds}".encode())


def _encode_date(key: datetime.date) -> bytes:
    return _framed(b"D", datetime.date.isoformat(key).encode())


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    int: _encode_int,
    bool: _encode_int,
    float: _encode_float,
    str: _encode_str,
    bytes: _encode_bytes,
    type(None): _encode_none,
    tuple: _encode_tuple,
    uuid.UUID: _encode_uuid,
    datetime.datetime: _encode_datetime,
    datetime.date: _encode_date,
}


def _encode_by_kind(key: Any) -> bytes:
    """Subclasses, enums, dataclasses and NumPy scalars: what equals a plain key encodes as that plain key."""
    kind = type(key)
    for base in (str, bytes, int, float):  # before enums: a StrEnum member equals its string
        if isinstance(key, base) and not _compares_anew(kind, base):
            return _ENCODERS[base](key)
    if any(base.__module__ == "numpy" and base.__name__ == "generic" for base in kind.__mro__):
        plain = key.item()
        if type(plain) in (int, float, bool):
            return _encode(plain)
        if kind.__name__ == "longdouble":
            return _encode_wide_float(key)
    if isinstance(key, tuple) and not _compares_anew(kind, tuple):
        return _encode_tuple(key)
    if isinstance(key, enum.Enum) and not _compares_anew(kind, enum.Enum):
        return _framed(b"e", f"{kind.__module__}.{kind.__qualname__}.{key.name}".encode())
    if isinstance(key, datetime.datetime) and not _compares_anew(kind, datetime.datetime):
        return _encode_datetime(key)
    if (
        isinstance(key, datetime.date)
        and not isinstance(key, datetime.datetime)
        and not _compares_anew(kind, datetime.date)
    ):
        return _encode_date(key)
    if isinstance(key, uuid.UUID) and not _compares_anew(kind, uuid.UUID):
        return _encode_uuid(key)
    names = _compared_fields(kind)
    if names is not None:
        name = f"{kind.__module__}.{kind.__qualname__}".encode()
        values = tuple(getattr(key, item) for item in names)
        return _framed(b"c", _framed(b"s", name) + _encode(values))
    raise UnsupportedKeyError(
        f"a value of type {kind.__module__}.{kind.__qualname__} cannot be a key",
        hint="use str, bytes, int, float, bool, None, tuples of those, enums, frozen dataclasses, UUID or dates,"
        " without an __eq__ or __hash__ of their own; or give the class a method __sage_key__() that returns"
        " one of them",
    )


def _compared_fields(kind: type) -> tuple[str, ...] | None:
    """The fields that a frozen dataclass is compared by; None for everything else."""
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or not parameters.eq:
        return None
    if not is_generated(kind.__eq__) or not is_generated(kind.__hash__):
        return None
    return tuple(field.name for field in dataclasses.fields(kind) if field.compare)


def _compares_anew(kind: type, base: type) -> bool:
    """Whether a subclass has its own idea of equality, so that its base's encoding says nothing."""
    if kind.__module__ == "numpy":
        return False
    return not (_inherits(kind, base, "__eq__") and _inherits(kind, base, "__hash__"))


def _inherits(kind: type, base: type, method: str) -> bool:
    """Whether a method is that of ``base``, or of `enum.Enum` where ``kind`` is an enumeration of such values."""
    found = getattr(kind, method)
    return found is getattr(base, method) or (issubclass(kind, enum.Enum) and found is getattr(enum.Enum, method))
