"""Keys that are none, keys that lie, keys of different types that are equal; in jobs of one and of several subtasks."""

from __future__ import annotations

import dataclasses
import enum
import math
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, MapFunction, skip
from sage.core.errors import JobFailedError

LIMIT = 60.0


class Own:
    """Gives a key of its own, or raises."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def __sage_key__(self) -> Any:
        if isinstance(self.key, Exception):
            raise self.key
        return self.key

    def __repr__(self) -> str:
        return "Own"


class Lying(str):
    """Equal to a text, but with another hash; equal to what is not."""

    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)


class Raising(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")

    def __hash__(self) -> int:
        raise ValueError("no hash")


class Class:
    def __getattribute__(self, name: str) -> Any:
        raise ValueError(f"no {name}")


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: Any


def deep() -> tuple[Any, ...]:
    key: tuple[Any, ...] = ()
    for _ in range(100_000):
        key = (key,)
    return key


UNFIT: dict[str, tuple[Any, str]] = {
    "list": ([1], "type builtins.list cannot be a key"),
    "dict": ({}, "type builtins.dict cannot be a key"),
    "bytearray": (bytearray(b"a"), "type builtins.bytearray cannot be a key"),
    "in a tuple": ((1, [2]), "type builtins.list cannot be a key"),
    "in a dataclass": (Frozen([2]), "type builtins.list cannot be a key"),
    "NaN": (math.nan, "NaN cannot be a key"),
    "NaN in a tuple": ((1, math.nan), "NaN cannot be a key"),
    "Decimal": (Decimal(1), "type decimal.Decimal cannot be a key"),
    "Fraction": (Fraction(1), "type fractions.Fraction cannot be a key"),
    "object": (object(), "type builtins.object cannot be a key"),
    "its own: list": (Own([1]), "type builtins.list cannot be a key"),
    "its own: NaN": (Own(math.nan), "NaN cannot be a key"),
    "its own: another": (Own(Own(1)), "returned an object with a __sage_key__, too"),
    "its own: raises": (Own(LookupError("no key")), "LookupError: no key"),
    "a hash that lies": (Lying("a"), "Lying cannot be a key"),
    "a comparison that raises": (Raising("a"), "Raising cannot be a key"),
    "what raises all the time": (Class(), "ValueError: no __class__"),
    "too deep": (deep(), "RecursionError"),
}


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_a_key_fails_at_keyby(backend: str, name: str, parallelism: int) -> None:
    """Also where no exchange would need its hash; named are operator, line, record and what to do."""
    key, message = UNFIT[name]
    env = LocalEnvironment(backend=backend)
    keyed = env.from_batch(["good", "bad"]).keyby(lambda record: key if record == "bad" else record, name="it")
    keyed.reduce(max, parallelism=parallelism).sink(str)
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True, timeout=LIMIT)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.kind, failure.uid, failure.record) == ("user_code", "keyby:it", "'bad'")
    assert failure.location is not None and failure.location.startswith("test_bad_input_keys.py:")
    assert message in failure.message
    assert "hint: " in failure.message or failure.error_type != "sage.core.errors.UnsupportedKeyError"


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", UNFIT)
def test_a_policy_gives_such_records_up_and_no_other(backend: str, name: str, parallelism: int) -> None:
    """The keys before and behind are looked after as if it had never been there."""
    key = UNFIT[name][0]
    env = LocalEnvironment(backend=backend)
    records = ["a", "bad", "b", "a"]
    keyed = env.from_batch(records).keyby(lambda record: key if record == "bad" else record, on_error=skip())
    counted = keyed.map(lambda record: record, parallelism=parallelism).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert Counter(counted) == Counter(["a", "b", "a"])
    assert env.get_job_status()["skipped"] == 1


class Size(enum.IntEnum):
    ONE = 1


class Where(MapFunction):
    def execute(self, record: Any) -> Any:
        return self.context.subtask, self.context.key == 1


@pytest.mark.parametrize("parallelism", [1, 2, 3, 7, 128])
def test_equal_keys_meet_whatever_their_type(backend: str, parallelism: int) -> None:
    """In one subtask, and as one value, at every parallelism; what only looks alike is another key."""
    numpy = pytest.importorskip("numpy")
    equal = [1, True, 1.0, Size.ONE, numpy.int8(1), numpy.float64(1), numpy.bool_(True), Own(1), Own(1.0)]
    env = LocalEnvironment(backend=backend)
    keyed = env.from_batch([*equal, "1", b"1", (1,), 2]).keyby(lambda record: record)
    places = keyed.map(Where, parallelism=parallelism).collect()
    counts = env.from_batch([(key, 1) for key in [*equal, "1", (1,)]]).keyby(lambda pair: pair[0])
    sums = counts.reduce(lambda a, b: (a[0], a[1] + b[1]), final=True, parallelism=parallelism).collect()
    env.submit(autostop=True, timeout=LIMIT)
    assert len({subtask for subtask, is_one in places if is_one}) == 1
    assert sum(is_one for _, is_one in places) == len(equal)
    assert sorted(count for _, count in sums) == [1, 1, len(equal)]


MANY = """
import resource
from sage.core.api import LocalEnvironment

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def run(count, key, backend):
    env = LocalEnvironment("many", backend)
    env.from_batch(range(count)).keyby(key).filter(lambda record: False, parallelism=2).collect()
    env.submit(autostop=True)

run(10_000, lambda number: number, "local")
before = peak()
run(300_000, lambda number: f"{number:>200}", "local")
print(peak() - before)
run(1_000, lambda number: f"{number:>200000}", "inline")  # which holds one record at a time
print(peak() - before)
"""


def test_many_keys_and_long_ones_are_not_kept() -> None:
    """An operator that keeps nothing per key takes no memory per key either, however many or long they are."""
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=120, check=True)
    many, long = map(int, run.stdout.split())
    assert many < 40, "MiB: 300,000 keys of 200 characters take 60 where they are remembered"
    assert long < 100, "MiB: 1,000 keys of 0.2 MB take 200 where they are remembered"
