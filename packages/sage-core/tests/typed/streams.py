"""What type checkers see of streams. Checked, never run: by mypy and pyright, see ``test_typing_streams.py``.

A line whose ``type: ignore`` is not needed is an error to both, so such lines say where an error has to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard, TypeVar, assert_type

from typing_extensions import TypeIs

from sage.core.api import (
    STOP,
    AggregateFunction,
    AsyncMapFunction,
    BaseFunction,
    BatchFunction,
    CoGroupFunction,
    CoMapFunction,
    ConnectedStreams,
    DataStream,
    DeadLetter,
    Environment,
    FilterFunction,
    FlatMapFunction,
    JoinFunction,
    KeyByFunction,
    ListState,
    LocalEnvironment,
    MapFunction,
    MapState,
    ReduceFunction,
    ReducingState,
    RemoteEnvironment,
    RuntimeContext,
    SinkFunction,
    SourceFunction,
    StopType,
    Tumbling,
    ValueState,
    Window,
    skip,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Order:
    item: str
    cents: int


class Parse(MapFunction):
    """Without brackets: what ``execute`` is annotated with counts."""

    def execute(self, value: str) -> Order:
        return Order(value, 0)


class Discount(MapFunction[Order, Order]):
    """With brackets, and constructor arguments."""

    def __init__(self, percent: int, *, floor: int = 0) -> None:
        self.percent = percent
        self.floor = floor

    def execute(self, order: Order) -> Order:
        return Order(order.item, max(self.floor, order.cents * (100 - self.percent) // 100))


@dataclass(frozen=True)
class Frozen(MapFunction):
    factor: int

    def execute(self, value: Order) -> int:
        return value.cents * self.factor


class Bare:
    """Derived from nothing."""

    def execute(self, value: Order) -> str:
        return value.item


class Fetch(AsyncMapFunction[str, bytes]):
    def __init__(self, url: str) -> None:
        self.url = url

    async def open(self, context: object) -> None:
        pass

    async def execute(self, value: str) -> bytes:
        return value.encode()

    def close(self) -> None:
        pass


async def later(value: Order) -> int:
    return value.cents


class Based(BaseFunction):
    def execute(self, value: Order) -> str:
        return value.item


class Same(MapFunction[T, T]):
    def execute(self, value: T) -> T:
        return value


class Untyped(MapFunction):
    def execute(self, value: Any) -> Any:
        return value


class Cheap(FilterFunction[Order]):
    def execute(self, value: Order) -> bool:
        return value.cents < 100


class Letters(FlatMapFunction):
    def execute(self, value: str) -> Iterator[str]:
        yield from value


class Codes(FlatMapFunction[str, int]):
    def execute(self, value: str) -> list[int] | None:
        return [ord(letter) for letter in value] or None


class Model(BaseFunction):
    def __init__(self, version: str) -> None:
        self.version = version

    def execute(self, batch: list[str]) -> Iterator[float]:
        yield from map(float, batch)


class ByItem(KeyByFunction[Order]):
    def execute(self, value: Order) -> str:
        return value.item


class Sum(ReduceFunction[int]):
    def execute(self, accumulated: int, value: int) -> int:
        return accumulated + value


class Add(ReduceFunction):
    def execute(self, accumulated: tuple[str, int], value: tuple[str, int]) -> tuple[str, int]:
        return accumulated[0], accumulated[1] + value[1]


class Spot(NamedTuple):
    item: str
    much: int


def more(one: tuple[str, int], other: tuple[str, int]) -> tuple[str, int]:
    return one[0], one[1] + other[1]


class Mean(AggregateFunction[int, tuple[int, int], float]):
    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, accumulator: tuple[int, int], value: int) -> tuple[int, int]:
        return accumulator[0] + value, accumulator[1] + 1

    def result(self, accumulator: tuple[int, int]) -> float:
        return accumulator[0] / accumulator[1]


class Count(AggregateFunction):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: object) -> int:
        return accumulator + 1

    def result(self, accumulator: int) -> str:
        return str(accumulator)


class Store(SinkFunction[Order]):
    def execute(self, value: Order) -> None: ...


class Three(BatchFunction):
    def execute(self) -> int | None:
        return None


class Stopping(BatchFunction):
    def execute(self) -> int | StopType:
        return STOP


class Upto(BatchFunction[int]):
    def __init__(self, limit: int) -> None:
        self.limit = limit

    def execute(self) -> int | None:
        return None


class Ticks(SourceFunction[float]):
    def execute(self) -> float | StopType | None:
        return STOP


class Pair(CoMapFunction):
    def map0(self, value: int) -> str:
        return str(value)

    def map1(self, value: str) -> bytes:
        return value.encode()


class Triple(Pair):
    def map2(self, value: Order) -> float:
        return value.cents / 100


def numbers(limit: int = 3) -> Iterator[int]:
    yield from range(limit)


def tick() -> float | StopType | None:
    return None


def price(order: Order) -> int:
    return order.cents


def maybe(order: Order) -> int | None:
    return order.cents or None


def items(order: Order) -> Iterable[str]:
    return [order.item]


def lengths(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def is_text(value: object) -> TypeIs[str]:
    return isinstance(value, str)


def is_order(value: object) -> TypeGuard[Order]:
    return isinstance(value, Order)


def sources(env: Environment) -> None:
    assert_type(env.from_batch([1, 2]), DataStream[int])
    assert_type(env.from_batch({"a": 1}), DataStream[str])
    assert_type(env.from_batch(range(3), name="numbers"), DataStream[int])
    assert_type(env.from_batch(letter for letter in "abc"), DataStream[str])
    assert_type(env.from_batch(lambda: [1.5]), DataStream[float])
    assert_type(env.from_batch(numbers), DataStream[int])
    assert_type(env.from_batch(numbers, 5, uid="numbers"), DataStream[int])
    assert_type(env.from_batch(Three), DataStream[int])
    assert_type(env.from_batch(Three()), DataStream[int])
    assert_type(env.from_batch(Stopping), DataStream[int])
    assert_type(env.from_batch(Upto, 3, name="upto"), DataStream[int])
    assert_type(env.from_collection([b"a"]), DataStream[bytes])
    assert_type(env.from_collection(numbers), DataStream[int])
    assert_type(env.from_source(Ticks), DataStream[float])
    assert_type(env.from_source(Ticks()), DataStream[float])
    assert_type(env.from_source(tick, on_error=skip()), DataStream[float])
    assert_type(env.from_text("a.txt"), DataStream[str])
    assert_type(env.from_csv("a.csv"), DataStream[dict[str, str]])
    assert_type(env.from_jsonl("a.jsonl").to_jsonl("b.jsonl"), DataStream[Any])
    assert_type(LocalEnvironment().from_batch([1]), DataStream[int])
    assert_type(RemoteEnvironment().from_batch([1]), DataStream[int])


def operators(texts: DataStream[str], orders: DataStream[Order], counts: DataStream[int]) -> None:
    assert_type(texts.map(Parse), DataStream[Order])
    assert_type(texts.map(Parse()), DataStream[Order])
    assert_type(texts.map(len), DataStream[int])
    assert_type(texts.map(str.upper), DataStream[str])
    assert_type(texts.map(str.split).map(len), DataStream[int])
    assert_type(texts.map(lambda text: text.upper()), DataStream[str])
    assert_type(texts.map(int, parallelism=2, on_error=skip()), DataStream[int])
    assert_type(orders.map(Discount, 10, floor=1, name="discount"), DataStream[Order])
    assert_type(orders.map(Discount(10)), DataStream[Order])
    assert_type(orders.map(Frozen, 3), DataStream[int])
    assert_type(orders.map(Bare), DataStream[str])
    assert_type(orders.map(Bare()), DataStream[str])
    assert_type(orders.map(Based), DataStream[str])
    assert_type(orders.map(Same[Order]), DataStream[Order])
    assert_type(orders.map(Untyped), DataStream[Any])
    assert_type(orders.map(price).map(float), DataStream[float])

    assert_type(orders.filter(Cheap), DataStream[Order])
    assert_type(orders.filter(Cheap()).filter(lambda order: order.cents > 1), DataStream[Order])
    assert_type(orders.filter_map(maybe), DataStream[int])
    assert_type(orders.filter_map(lambda order: order.item or None), DataStream[str])
    assert_type(texts.flatmap(Letters), DataStream[str])
    assert_type(texts.flatmap(Codes()), DataStream[int])
    assert_type(texts.flatmap(str.split, name="words"), DataStream[str])
    assert_type(orders.flatmap(items), DataStream[str])
    assert_type(counts.flatmap(lambda count: [count] * count), DataStream[int])
    assert_type(texts.map_batches(lengths, max_size=4), DataStream[int])
    assert_type(texts.map_batches(lambda batch: [batch[0].upper()], max_wait=0.1), DataStream[str])
    assert_type(texts.map_batches(Model, "v2", as_array=False, name="model"), DataStream[float])
    assert_type(texts.map_batches(Model("v2")), DataStream[float])
    assert_type(counts.map_batches(sorted, as_array=True), DataStream[Any])
    assert_type(texts.map_async(Fetch, "url", concurrency=4, name="fetch"), DataStream[bytes])
    assert_type(texts.map_async(Fetch("url"), ordered=False, on_error=skip()), DataStream[bytes])
    assert_type(orders.map_async(later, timeout=2.5, parallelism=2).map(float), DataStream[float])
    assert_type(orders.keyby(ByItem).keyby(lambda order: order.item), DataStream[Order])

    assert_type(counts.reduce(Sum), DataStream[int])
    assert_type(counts.reduce(Sum(), final=True), DataStream[int])
    assert_type(counts.reduce(max), DataStream[int])
    assert_type(counts.keyby(abs).reduce(lambda a, b: a + b, final=True), DataStream[int])
    assert_type(counts.aggregate(Mean), DataStream[float])
    assert_type(counts.aggregate(Mean(), final=True), DataStream[float])
    assert_type(orders.aggregate(Count, final=True, parallelism=2), DataStream[str])

    assert_type(orders.sink(Store).sink(Store()).sink(print), DataStream[Order])
    assert_type(orders.to_jsonl("orders.jsonl"), DataStream[Order])
    assert_type(orders.print("> ").broadcast().rebalance(), DataStream[Order])
    assert_type(orders.collect(), list[Order])
    assert_type(orders.dead_letters, DataStream[DeadLetter])
    assert_type(orders.side_output("late"), DataStream[Any])


def tuples(texts: DataStream[str], env: Environment) -> None:
    """What a lambda makes of literals is reduced as what they are literals of."""
    ones = texts.map(lambda word: (word, 1)).keyby(lambda pair: pair[0])
    assert_type(ones.reduce(lambda a, b: (a[0], a[1] + b[1]), final=True), DataStream[tuple[str, int]])
    assert_type(ones.reduce(more, parallelism=2), DataStream[tuple[str, int]])
    assert_type(ones.reduce(Add), DataStream[tuple[str, int]])
    assert_type(ones.reduce(Add(), final=True), DataStream[tuple[str, int]])
    first = texts.map(lambda word: (1, word)).reduce(lambda a, b: (a[0] + b[0], b[1]))
    assert_type(first, DataStream[tuple[int, str]])
    both = texts.map(lambda word: (0, 1)).reduce(lambda a, b: (a[0] + b[0], a[1] + b[1]))
    assert_type(both, DataStream[tuple[int, int]])
    three = texts.map(lambda word: (word, 0.5, 1)).reduce(lambda a, b: (a[0], a[1] + b[1], a[2] + b[2]))
    assert_type(three, DataStream[tuple[str, float, int]])
    four = texts.map(lambda word: (word, b"", 0, 1)).reduce(lambda a, b: (a[0], a[1], a[2] + b[2], a[3] + b[3]))
    four.map(lambda record: record[2] + record[3]).reduce(Sum)
    spots = texts.map(lambda word: Spot(word, 1)).reduce(lambda a, b: Spot(a.item, a.much + b.much))
    assert_type(spots, DataStream[Spot])
    known: DataStream[tuple[str, int]] = texts.map(lambda word: (word, 1))
    known.reduce(Add).union(env.from_batch([("a", 1)])).reduce(more)


def keyed(orders: DataStream[Order]) -> None:
    assert_type(orders.keyby(ByItem).map(Spent), DataStream[tuple[str, int]])
    assert_type(orders.keyby(ByItem).aggregate(Count).keyby(len), DataStream[str])


class Spent(MapFunction[Order, tuple[str, int]]):
    """With state for each key."""

    def open(self, context: RuntimeContext) -> None:
        self.cents = context.value_state("cents", 0)
        self.items: ListState[str] = context.list_state("items")
        self.counts: MapState[str, int] = context.map_state("counts")
        self.most = context.reducing_state("most", max2)

    def execute(self, order: Order) -> tuple[str, int]:
        assert_type(self.cents, ValueState[int])
        assert_type(self.cents.get(), int)
        assert_type(self.most, ReducingState[int])
        assert_type(self.counts["a"], int)
        assert_type(list(self.items), list[str])
        self.cents.set("1")  # type: ignore[arg-type]
        return order.item, self.most.add(order.cents)


def max2(one: int, other: int) -> int:
    return max(one, other)


def explained(env: Environment) -> None:
    assert_type(env.explain(), str)
    assert_type(env.explain("mermaid"), str)
    assert_type(env.explain(format="json"), str)


def several(texts: DataStream[str], orders: DataStream[Order], counts: DataStream[int]) -> None:
    assert_type(counts.union(counts), DataStream[int])
    assert_type(counts.union(texts), DataStream[int | str])
    assert_type(counts.union(texts, orders), DataStream[int | str | Order])
    assert_type(counts.union(texts, orders, texts.map(str.encode)), DataStream[int | str | Order | bytes])
    assert_type(counts.union(texts).filter(is_text), DataStream[str])
    assert_type(counts.union(orders).filter(is_order), DataStream[Order])

    pair = counts.connect(texts)
    assert_type(pair, ConnectedStreams[int, str])
    assert_type(pair.keyby(abs, len), ConnectedStreams[int, str])
    assert_type(pair.comap(Pair), DataStream[str | bytes])
    assert_type(pair.comap(Pair(), name="pair"), DataStream[str | bytes])
    assert_type(pair.comap(float, str.encode), DataStream[float | bytes])
    assert_type(pair.comap(lambda count: [count], lambda text: text.upper()), DataStream[list[int] | str])

    triple = counts.connect(texts, orders)
    assert_type(triple.keyby(abs, len, ByItem), ConnectedStreams[int, str, Order])
    assert_type(triple.comap(Triple, parallelism=2), DataStream[str | bytes | float])
    assert_type(triple.comap(float, str.encode, price), DataStream[float | bytes | int])

    assert_type(counts.connect(texts, orders, counts).comap(Triple), DataStream[Any])


class Match(JoinFunction[int, str, bytes]):
    def execute(self, left: int, right: str) -> bytes:
        return right.encode() * left


class MatchAny(JoinFunction):
    """Without brackets."""

    def execute(self, left: int, right: str | None) -> float:
        return left / len(right or "-")


def either(left: int | None, right: str | None) -> tuple[int | None, str | None]:
    return left, right


class Weigh(CoGroupFunction[int, str, float]):
    def execute(self, key: object, window: Window, lefts: list[int], rights: list[str]) -> Iterator[float]:
        yield window.start * len(lefts)


def weigh(key: object, window: Window, lefts: list[int], rights: list[str]) -> list[float]:
    return [window.end]


def joins(counts: DataStream[int], texts: DataStream[str]) -> None:
    keyed = counts.connect(texts).keyby(lambda count: count, len)
    assert_type(keyed.join(Match), DataStream[bytes])
    assert_type(keyed.join(Match(), within=(-1, 1.5), parallelism=2), DataStream[bytes])
    assert_type(keyed.join(lambda count, text: text * count), DataStream[str])
    assert_type(keyed.join(MatchAny, how="left"), DataStream[float])
    assert_type(keyed.join(either, how="outer"), DataStream[tuple[int | None, str | None]])
    assert_type(keyed.join(either, how="right"), DataStream[tuple[int | None, str | None]])
    assert_type(keyed.join(lambda count, text: (count, text), how="left"), DataStream[tuple[int, str | None]])
    assert_type(keyed.join(either, window=Tumbling(10), how="outer"), DataStream[tuple[int | None, str | None]])
    assert_type(keyed.co_group(Weigh, window=Tumbling(10)), DataStream[float])
    assert_type(keyed.co_group(weigh, window=Tumbling(10), parallelism=2), DataStream[float])
    keyed.co_group(Weigh)  # type: ignore[call-overload]
    keyed.join(Match, how="left")  # type: ignore[call-overload]
    keyed.join(lambda count, text: text.upper(), how="left")  # type: ignore[call-overload]


async def length_soon(text: str) -> int | None:
    return len(text) or None


def length(text: str) -> int | None:
    return len(text) or None


def lookups(texts: DataStream[str]) -> None:
    assert_type(texts.lookup(length, on=str.upper), DataStream[tuple[str, int]])
    assert_type(texts.lookup(length_soon, on=str.upper), DataStream[tuple[str, int]])
    assert_type(texts.lookup(length, on=str.upper, how="left"), DataStream[tuple[str, int | None]])
    assert_type(texts.lookup(length_soon, on=str.upper, how="left"), DataStream[tuple[str, int | None]])
    assert_type(texts.lookup("prices.find", on=str.upper, cache_size=9), DataStream[tuple[str, Any]])
    texts.lookup(length, on=len)  # type: ignore[arg-type]


def without_brackets(stream: DataStream, pair: ConnectedStreams) -> DataStream:
    """Code that names no types goes on as it is."""
    wider: DataStream[float] = LocalEnvironment().from_batch([1])
    wider.union(stream)
    stream.map(Parse).filter(Cheap)
    return stream.map(price)


def mistakes(env: Environment, texts: DataStream[str], orders: DataStream[Order]) -> None:
    texts.map(price)  # type: ignore[arg-type]
    texts.map(Bare)  # type: ignore[arg-type]
    texts.map(Discount, 10)  # type: ignore[arg-type]
    texts.map(Discount(10))  # type: ignore[arg-type]
    texts.map(lambda text: text.cents)  # type: ignore[attr-defined]
    texts.map(42)  # type: ignore[call-overload]
    texts.map(len, paralelism=2)  # type: ignore[call-overload]
    texts.map(len, parallelism="2")  # type: ignore[call-overload]
    texts.filter(Cheap)  # type: ignore[arg-type]
    orders.flatmap(Letters)  # type: ignore[arg-type]
    orders.flatmap(price)  # type: ignore[arg-type]
    orders.map_batches(lengths)  # type: ignore[arg-type]
    orders.map_batches(Model, "v2")  # type: ignore[arg-type]
    texts.map_async(later)  # type: ignore[arg-type]
    texts.map_async(Fetch, "url").map_async(Fetch, "url")  # type: ignore[arg-type]
    texts.map_async(len)  # type: ignore[arg-type]
    texts.map_async(Fetch, "url", concurrency="4")  # type: ignore[call-overload]
    texts.keyby(ByItem)  # type: ignore[arg-type]
    texts.reduce(Sum)  # type: ignore[arg-type]
    texts.reduce(lambda a, b: len(b))  # type: ignore[arg-type,return-value]
    pairs = texts.map(lambda word: (word, 1))
    pairs.reduce(lambda a, b: (a[0], str(b[1])))  # type: ignore[arg-type,return-value]
    pairs.reduce(lambda a, b: a[0])  # type: ignore[arg-type,return-value]
    pairs.reduce(Sum)  # type: ignore[arg-type]
    pairs.reduce(more, finale=True)  # type: ignore[call-overload]
    texts.map(lambda word: (1, word)).reduce(more)  # type: ignore[arg-type]
    texts.aggregate(Mean)  # type: ignore[arg-type]
    texts.sink(Store)  # type: ignore[arg-type]
    texts.connect(orders).keyby(len, len)  # type: ignore[arg-type]
    texts.connect(orders).keyby(len)  # type: ignore[call-arg]
    texts.connect(orders).comap(Pair)  # type: ignore[arg-type]
    texts.connect(orders).comap(price, len)  # type: ignore[arg-type]
    env.from_batch(3)  # type: ignore[call-overload]
    env.explain("dot")  # type: ignore[arg-type]
    texts.union(3)  # type: ignore[call-overload]
    texts.filter_map(price)  # type: ignore[arg-type]
    texts.union(orders).map(len)  # type: ignore[arg-type]
    texts.keyby(len).map(price)  # type: ignore[arg-type]
    orders.filter(is_text).map(price)  # type: ignore[arg-type]
    orders.map(price).print(prefix=1)  # type: ignore[arg-type]
    orders.map_batches(lengths, as_array=False)  # type: ignore[call-overload]
    env.from_source(3)  # type: ignore[call-overload]
    narrower: DataStream[bool] = env.from_batch([1])  # type: ignore[list-item]
    narrower.print()


class Wrong(MapFunction[int, str]):
    def execute(self, value: str) -> str:  # type: ignore[override]
        return value


class WrongSource(BatchFunction[int]):
    def execute(self) -> str | None:  # type: ignore[override]
        return None
