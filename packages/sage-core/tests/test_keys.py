"""Keys: which values may be keys, that equal ones meet, and that their places never change."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import os
import subprocess
import sys
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.keys import KeyRouter, admit_key, key_group, subtask_of_group
from sage.core.errors import UnsupportedKeyError
from sage.core.graph.model import MAX_PARALLELISM
from sage.core.plan.model import TaskId


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.StrEnum):
    RED = "red"


class Old(str, enum.Enum):  # noqa: UP042 - the form from before StrEnum
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.IntFlag):
    ONE = 1


class Plain(enum.Enum):
    RED = "red"
    CRIMSON = "red"  # noqa: PIE796 - an alias
    ONE = 1


class Text(str):
    __slots__ = ()


class Whole(int):
    def __str__(self) -> str:
        return "not a number"


class OddInt(int):
    def __int__(self) -> int:
        return 7


class OddFloat(float):
    def __float__(self) -> float:
        return 99.5

    def is_integer(self) -> bool:
        return True


class OddBytes(bytes):
    def __bytes__(self) -> bytes:
        return b"other"


class OddTuple(tuple[Any, ...]):
    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(["other"])


class OddMoment(datetime.datetime):
    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return "other"

    def replace(self, *args: Any, **kwargs: Any) -> Self:
        raise NotImplementedError

    def utcoffset(self) -> datetime.timedelta:
        return datetime.timedelta(hours=5)


class OddDate(datetime.date):
    def isoformat(self) -> str:
        return "other"


class PlainDate(datetime.date):
    pass


class OddUuid(uuid.UUID):
    @property
    def bytes(self) -> bytes:
        return b"other"


@dataclasses.dataclass(frozen=True)
class Place:
    country: str
    city: str
    visits: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass(frozen=True)
class Inner(Place):
    pass


class Shifting(datetime.tzinfo):
    """Summer time that ends: the second time round (``fold=1``) an hour is another instant."""

    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(hours=1 if when is not None and when.fold else 2)

    def dst(self, when: datetime.datetime | None) -> None:
        return None

    def tzname(self, when: datetime.datetime | None) -> str:
        return "shifting"


SHIFTING = Shifting()
NOON = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
EAST = datetime.timezone(datetime.timedelta(hours=9, minutes=30))

EQUAL: list[tuple[Any, ...]] = [
    (1, True, 1.0, Level.LOW, Bits.ONE, Whole(1)),
    (0, False, 0.0, -0.0),
    (-7, -7.0, Whole(-7)),
    (2**80, float(2**80)),
    (10**300, Whole(10**300)),
    ("red", Colour.RED, Old.RED, Text("red")),
    (Plain.RED, Plain.CRIMSON),
    ((1, 2), Point(1, 2), (True, 2.0), (Whole(1), 2)),
    ((1, ("a", None)), (1.0, (Text("a"), None))),
    (NOON, NOON.astimezone(EAST)),
    (
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=SHIFTING),
        datetime.datetime(2026, 10, 25, 2, 30, tzinfo=SHIFTING, fold=1),
    ),
    (datetime.datetime(2026, 3, 1), datetime.datetime(2026, 3, 1, fold=1)),
    (datetime.date(2026, 3, 1), datetime.date.fromisoformat("2026-03-01")),
    (uuid.UUID(int=5), uuid.UUID("00000000-0000-0000-0000-000000000005")),
    (3, OddInt(3)),
    (1.5, OddFloat(1.5)),
    (b"a", OddBytes(b"a")),
    ((1, 2), OddTuple((1, 2))),
    (datetime.datetime(2026, 3, 1), OddMoment(2026, 3, 1)),
    (NOON, OddMoment(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)),
    (datetime.date(2026, 3, 1), PlainDate(2026, 3, 1), OddDate(2026, 3, 1)),
    (uuid.UUID(int=5), OddUuid(int=5)),
    (Place("CH", "Chur"), Place("CH", "Chur", visits=3), Place(Text("CH"), "Chur")),
]


@pytest.mark.parametrize("keys", EQUAL, ids=lambda keys: repr(keys[0])[:40])
def test_equal_keys_share_a_group(keys: tuple[Any, ...]) -> None:
    """What Python calls equal goes to one group, whatever its type."""
    assert all(key == keys[0] and hash(key) == hash(keys[0]) for key in keys)
    assert len({key_group(admit_key(key)) for key in keys}) == 1


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64"]
)
def test_numpys_numbers_are_numbers(dtype: str) -> None:
    """A NumPy scalar is the key that the plain number is."""
    numpy = pytest.importorskip("numpy")
    assert key_group(admit_key(numpy.dtype(dtype).type(1))) == key_group(1)
    assert key_group(admit_key((numpy.dtype(dtype).type(0), "a"))) == key_group((0, "a"))


def test_numpys_wide_floats_are_numbers() -> None:
    """One that equals a float or an integer is that key, one that equals neither is a key of its own."""
    numpy = pytest.importorskip("numpy")
    wide = numpy.longdouble
    for plain in (0, 1, 1.5, 2**63, float("inf"), 1e300):
        assert wide(plain) == plain
        assert key_group(admit_key(wide(plain))) == key_group(plain)
    third = wide(1) / wide(3)
    assert key_group(admit_key((third,))) == key_group((wide(2) / wide(6),))
    assert key_group(wide(2**63) + wide(1)) == key_group(int(wide(2**63) + wide(1)))
    with pytest.raises(UnsupportedKeyError, match="NaN"):
        admit_key(wide("nan"))


def test_numpys_other_scalars() -> None:
    """Booleans and texts of NumPy are plain ones; NaN, dates and arrays are refused."""
    numpy = pytest.importorskip("numpy")
    assert key_group(admit_key(numpy.bool_(True))) == key_group(1)
    assert key_group(admit_key(numpy.str_("red"))) == key_group("red")
    assert key_group(admit_key(numpy.bytes_(b"red"))) == key_group(b"red")
    refused = [
        numpy.float32("nan"),
        numpy.float64("nan"),
        numpy.array(1),
        numpy.array([1, 2]),
        numpy.datetime64(1, "s"),
    ]
    for key in refused:
        with pytest.raises(UnsupportedKeyError):
            admit_key(key)


numbers = st.one_of(
    st.integers(-5, 5),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False),
    st.integers(-5, 5).map(float),
    st.integers(-5, 5).map(Whole),
)
scalars = st.one_of(
    numbers,
    st.none(),
    st.text(max_size=3),
    st.sampled_from(["red", Colour.RED, Old.RED, Text("red"), Plain.RED, Level.LOW, b"red", b""]),
    st.datetimes(timezones=st.sampled_from([datetime.UTC, EAST])),
    st.datetimes(),
    st.dates(),
    st.uuids(),
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@given(left=keys, right=keys)
def test_equal_keys_encode_equal_whatever_they_are(left: Any, right: Any) -> None:
    """Two keys that Python calls equal have one group, and every key is admitted as itself."""
    assert admit_key(left) is left
    if left == right:
        assert key_group(left) == key_group(right)


@given(number=st.integers(-(2**53), 2**53))
def test_whole_floats_are_integers(number: int) -> None:
    """A float that is a whole number is the key that the integer is."""
    assert key_group(float(number)) == key_group(number)


def test_the_order_of_parts_and_their_borders_count() -> None:
    """Keys that look alike when their parts are written one after the other differ."""
    different = [("ab", "c"), ("a", "bc"), ("abc",), "abc", b"abc", (("ab",), "c"), ("c", "ab"), ("ab", "c", None)]
    spread = {tuple(key_group((key, salt)) for salt in range(4)) for key in different}
    assert len(spread) == len(different)


def test_very_large_integers_are_keys() -> None:
    """Python refuses to write long integers as decimals; as keys they are like others."""
    assert key_group(admit_key(10**5000)) == key_group(Whole(10**5000))


def test_dates_at_the_edge_of_the_calendar_are_keys() -> None:
    """An instant whose date in UTC is before the year 1 is a key like others."""
    first, last = datetime.datetime.min, datetime.datetime.max
    assert key_group(first.replace(tzinfo=EAST)) != key_group(
        last.replace(tzinfo=datetime.timezone(-EAST.utcoffset(None)))
    )


@dataclasses.dataclass(frozen=True)
class Measured:
    value: float


@dataclasses.dataclass
class Mutable:
    value: int


@dataclasses.dataclass(frozen=True)
class Listing:
    values: list[int]


@dataclasses.dataclass(frozen=True)
class Caseless:
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Caseless) and self.name.lower() == other.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())


class CaselessText(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class OwnHash(tuple[int, ...]):
    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)


@dataclasses.dataclass(frozen=True)
class OwnHashed:
    value: int

    def __hash__(self) -> int:
        return id(self)


class OddColour(enum.Enum):
    RED = "red"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class OwnDate(datetime.datetime):
    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = datetime.datetime.__hash__


class OwnId(uuid.UUID):
    __slots__ = ()

    def __hash__(self) -> int:
        raise ValueError("no hash")


class Unhashable(str):
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


NAN = float("nan")


@pytest.mark.parametrize(
    "key",
    [
        NAN,
        (1, (NAN,)),
        Measured(NAN),
        [1],
        (1, [2]),
        {1},
        frozenset({1}),
        {"a": 1},
        bytearray(b"a"),
        object(),
        len,
        int,
        1j,
        Decimal(1),
        Fraction(1, 2),
        datetime.time(12),
        datetime.timedelta(1),
        range(3),
        Mutable(1),
        Listing([1]),
        Caseless("a"),
        CaselessText("a"),
        Unhashable("a"),
        OwnHash((1,)),
        OwnHashed(1),
        OddColour.RED,
        OwnDate(2026, 1, 1),
        OwnId(int=1),
    ],
    ids=repr,
)
def test_what_has_no_canonical_form_is_refused(key: Any) -> None:
    """NaN, what can change, and what has its own idea of equality cannot be a key; the error says what can."""
    with pytest.raises(UnsupportedKeyError) as caught:
        admit_key(key)
    assert "cannot be a key" in str(caught.value)


def test_own_equality_is_seen_in_a_program_on_the_command_line() -> None:
    """Where code that the decorator of dataclasses made, and code of the user's, come from a file of the same name."""
    program = """
import dataclasses
from sage.core.engine.keys import admit_key
from sage.core.errors import UnsupportedKeyError

@dataclasses.dataclass(frozen=True)
class Plain:
    name: str

@dataclasses.dataclass(frozen=True)
class Caseless:
    name: str
    def __eq__(self, other):
        return self.name.lower() == other.name.lower()
    def __hash__(self):
        return hash(self.name.lower())

admit_key(Plain("a"))
try:
    admit_key(Caseless("a"))
except UnsupportedKeyError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "refused\n"


def test_the_refusal_names_type_and_remedy() -> None:
    """The error names the type in full and what to do."""
    with pytest.raises(UnsupportedKeyError) as caught:
        admit_key(("a", Decimal("1.5")))
    assert "decimal.Decimal" in caught.value.message
    assert caught.value.hint is not None
    assert "__sage_key__" in caught.value.hint
    with pytest.raises(UnsupportedKeyError, match="NaN"):
        admit_key(NAN)


class Own:
    def __init__(self, key: Any) -> None:
        self.key = key

    def __sage_key__(self) -> Any:
        return self.key


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    key: Any


@dataclasses.dataclass(frozen=True)
class Held:
    key: Any
    keys: tuple[Any, ...]
    left: Any = dataclasses.field(default=None, compare=False)
    code: str = dataclasses.field(default="c", init=False)


def test_a_class_may_say_what_its_key_is() -> None:
    """``__sage_key__()`` replaces an object by its key, also in tuples and dataclasses; what it gives must be a key."""
    assert admit_key(Own("a")) == "a"
    assert admit_key((1, Own("a"), (Own(2),))) == (1, "a", (2,))
    point, place = Point(1, 2), Place("CH", "Chur", visits=3)
    assert admit_key(point) is point and admit_key(place) is place
    given = Held(Own("a"), (Own(2), Slotted(Own(3))), left=Own(4))
    admitted = admit_key(given)
    assert admitted == Held("a", (2, Slotted(3)), left=None) and admitted.left is given.left
    assert admitted.code == "c" and isinstance(given.key, Own)
    assert key_group(admitted) == key_group(Held("a", (2, Slotted(3))))
    for wrong in (NAN, [1], object(), Own(1)):
        with pytest.raises(UnsupportedKeyError):
            admit_key(Own(wrong))
        with pytest.raises(UnsupportedKeyError):
            admit_key(Slotted(Own(wrong)))


GOLDEN: list[tuple[Any, int]] = [
    (None, 49),
    (True, 74),
    (0, 92),
    (1, 74),
    (-1, 115),
    (2**64, 40),
    (10**5000, 112),
    (0.5, 24),
    (-1.5e300, 21),
    (float("inf"), 80),
    ("", 2),
    ("red", 105),
    ("grün", 102),
    ("\ud800", 78),
    (b"", 48),
    (b"red", 92),
    ((), 18),
    ((1,), 78),
    (("a", (None, 2.5)), 65),
    (Point(1, 2), 72),
    (Colour.RED, 105),
    (Level.LOW, 74),
    (uuid.UUID(int=1), 0),
    (datetime.date(2026, 3, 1), 25),
    (datetime.datetime(2026, 3, 1, 12), 3),
    (NOON, 22),
    (NOON.astimezone(EAST), 22),
    (uuid.SafeUUID.unsafe, 43),
    (TaskId(1, 2), 121),
]
"""Frozen: state is kept by these numbers. Another encoding is another version of the hash."""

FROZEN = {
    "integers": 3257692102,
    "powers": 1020511217,
    "floats": 3732298331,
    "texts": 758867073,
    "bytes": 831492611,
    "pairs": 954350389,
    "uuids": 1404361698,
    "instants": 493761307,
    "days": 3568278577,
}


@pytest.mark.parametrize(("key", "group"), GOLDEN, ids=[type(key).__name__ for key, _ in GOLDEN])
def test_groups_never_change(key: Any, group: int) -> None:
    """Hash v1 gives the groups it always gave."""
    assert key_group(admit_key(key)) == group


def spread(make: Callable[[int], Any], count: int = 5000) -> int:
    """One number that changes if the group of any of ``count`` keys does."""
    return zlib.crc32(bytes(key_group(make(number)) for number in range(count)))


FAMILIES: dict[str, Callable[[int], Any]] = {
    "integers": lambda number: number - 2500,
    "powers": lambda number: 3**number,
    "floats": lambda number: number / 7,
    "texts": "key{}".format,
    "bytes": lambda number: b"%d" % number,
    "pairs": lambda number: ("a", number),
    "uuids": lambda number: uuid.UUID(int=number),
    "instants": lambda number: NOON + datetime.timedelta(hours=number),
    "days": lambda number: datetime.date(2026, 1, 1) + datetime.timedelta(days=number),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_groups_of_many_keys_never_change(family: str) -> None:
    """Hash v1 gives thousands of keys the groups it always gave them."""
    assert spread(FAMILIES[family]) == FROZEN[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_subtask_gets_its_share(family: str) -> None:
    """Keys as people number things spread over subtasks: none has less than half or more than twice its share."""
    for parallelism in (2, 3, 4, 7, 16):
        shares = Counter(subtask_of_group(key_group(FAMILIES[family](n)), parallelism) for n in range(8000))
        assert set(shares) == set(range(parallelism))
        assert min(shares.values()) > 8000 / parallelism / 2
        assert max(shares.values()) < 8000 / parallelism * 2


def test_groups_are_shared_out_in_ranges() -> None:
    """Each subtask has one contiguous range of groups; together they have all, and sizes differ by one at most."""
    for parallelism in range(1, MAX_PARALLELISM + 1):
        owners = [subtask_of_group(group, parallelism) for group in range(MAX_PARALLELISM)]
        assert owners == sorted(owners)
        sizes = Counter(owners)
        assert set(sizes) == set(range(parallelism))
        assert max(sizes.values()) - min(sizes.values()) <= 1


def test_a_router_says_the_same_as_the_hash_also_when_it_has_forgotten() -> None:
    """The router only remembers: beyond its memory answers stay the same."""
    router = KeyRouter(5)
    for number in [*range(200_000), *range(200_000, 0, -999)]:
        subtask = router[number]
        if number % 997 == 0 or number < 100:
            assert subtask == subtask_of_group(key_group(number), 5)


_PRINT = """
import datetime, enum, uuid
from sage.core.engine.keys import key_group
class E(enum.Enum):
    A = 1
keys = ["red", b"red", 1, 1.5, None, ("a", (1, "b")), E.A, uuid.UUID(int=1), datetime.date(2026, 1, 1)]
print([key_group(key) for key in keys])
"""


def test_no_salt_gets_in() -> None:
    """Processes with different hash seeds agree on every group."""
    answers = set()
    for seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", _PRINT], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(run.stdout)
    assert len(answers) == 1
