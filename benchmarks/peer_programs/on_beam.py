"""The works on Apache Beam's own runner for one machine, in memory. It ends with its input, so W6 is not for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from work import (
    CALLS,
    Way,
    add_array,
    add_one,
    arrays,
    double,
    double_array,
    fetch_all,
    measure,
    not_by_three,
    numbers,
    subtract_array,
    take_array,
    take_count,
    take_number,
    words,
)


def pipeline() -> Any:
    return beam.Pipeline(runner=FnApiRunner())


def emit_numbers(_: bytes) -> Iterator[int]:
    return numbers()


def emit_words(_: bytes) -> Iterator[str]:
    return words()


def emit_calls(_: bytes) -> Iterable[int]:
    return range(CALLS)


def emit_arrays(_: bytes) -> Iterator[Any]:
    return arrays()


def chain() -> None:
    with pipeline() as flow:
        stream = flow | beam.Impulse() | "numbers" >> beam.FlatMap(emit_numbers)
        stream = stream | "add" >> beam.Map(add_one) | "double" >> beam.Map(double)
        stream = stream | "keep" >> beam.Filter(not_by_three) | "add again" >> beam.Map(add_one)
        stream | "take" >> beam.Map(take_number)


class Count(beam.DoFn):
    SEEN = beam.DoFn.StateParam(ReadModifyWriteStateSpec("seen", VarIntCoder()))

    def process(self, pair: tuple[str, None], seen: Any = SEEN) -> Iterator[tuple[str, int]]:
        count = (seen.read() or 0) + 1
        seen.write(count)
        yield pair[0], count


def with_none(word: str) -> tuple[str, None]:
    return word, None


def count() -> None:
    with pipeline() as flow:
        stream = flow | beam.Impulse() | "words" >> beam.FlatMap(emit_words)
        keyed = stream | "key" >> beam.Map(with_none).with_output_types(tuple[str, None])
        keyed | "count" >> beam.ParDo(Count()) | "take" >> beam.Map(take_count)


def fetch_batch(batch: list[int]) -> list[int]:
    return asyncio.run(fetch_all(batch))


def waits() -> None:
    """Beam waits for nobody: the waits of a batch are gathered in one call."""
    with pipeline() as flow:
        stream = flow | beam.Impulse() | "calls" >> beam.FlatMap(emit_calls)
        stream = stream | beam.BatchElements(320, 320) | "fetch" >> beam.FlatMap(fetch_batch)
        stream | "take" >> beam.Map(take_number)


def in_place() -> None:
    with pipeline() as flow:
        stream = flow | beam.Impulse() | "arrays" >> beam.FlatMap(emit_arrays)
        stream = stream | "add" >> beam.Map(add_array) | "double" >> beam.Map(double_array)
        stream | "subtract" >> beam.Map(subtract_array) | "take" >> beam.Map(take_array)


WAYS: dict[str, list[Way]] = {
    "W1": [("beam", chain)],
    "W2": [("beam", count)],
    "W3": [("beam", waits)],
    "W5": [("beam", in_place)],
}

if __name__ == "__main__":
    measure(version("apache-beam"), WAYS)
