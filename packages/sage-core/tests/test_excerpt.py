"""Values are shown by the beginning of their repr, at a price that does not grow with them."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.excerpt import excerpt

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())


@dataclasses.dataclass
class Image:
    name: str
    data: Any
    secret: int = dataclasses.field(default=1, repr=False)


@dataclasses.dataclass
class Own:
    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Inherits(Own):
    """Its repr is its parent's."""


Pair = namedtuple("Pair", "left right")

VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
        | st.builds(Image, st.text(), inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Inherits, st.text())
    ),
)


@given(VALUES, st.integers(1, 200))
def test_it_is_the_repr_or_its_beginning(value: Any, limit: int) -> None:
    """What fits is shown as Python shows it; of the rest, exactly the first characters."""
    whole = repr(value)
    if len(whole) <= limit:
        assert excerpt(value, limit) == whole
    else:
        assert excerpt(value, limit).startswith(f"{whole[:limit]}…")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (bytearray(1 << 26), "67,108,864 bytes"),
        (bytes(1 << 26), "67,108,864 bytes"),
        ([None] * (1 << 23), "8,388,608 items"),
        ([bytes(1 << 26)] * 3, "3 items"),
        ({1: {2: (bytes(1 << 26),)}}, "1 items"),
        (Image("large", bytes(1 << 26)), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_more_is_looked_at_than_is_shown(value: Any, size: str | None) -> None:
    """A record of gigabytes costs a failure no memory; how large it is is told where that is known."""
    tracemalloc.start()
    try:
        text = excerpt(value, 500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 17
    assert len(text) < 600
    assert text.endswith("…" if size is None else f"… ({size})")


def test_what_holds_itself_is_shown_as_python_does() -> None:
    """Rings end where they close."""
    ring: list[Any] = [1]
    ring.append({"ring": ring})
    assert excerpt(ring, 100) == repr(ring) == "[1, {'ring': [...]}]"
    image = Image("of itself", None)
    image.data = (image,)
    assert excerpt(image, 100) == repr(image) == "Image(name='of itself', data=(...,))"
