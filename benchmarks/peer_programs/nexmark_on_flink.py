"""NEXMARK on PyFlink's DataStream API: functions in Python, called for each record in processes of their own.

Everything is at its default (bundles of 1,000 records, state on the heap), with one subtask of each step. Events are
pickled into Flink before the time is taken. Results that nobody looks at are dropped in Java.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from events import Auction, Bid, Event, Person, is_auction, is_bid, is_person
from nexmark_work import Query, measure
from pyflink.common import Duration, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.datastream.functions import (
    AggregateFunction,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    ProcessAllWindowFunction,
    ProcessWindowFunction,
    RuntimeContext,
)
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor
from pyflink.datastream.window import EventTimeSessionWindows, SlidingEventTimeWindows, TumblingEventTimeWindows
from pyflink.java_gateway import get_gateway
from results import AuctionPrice, CategoryPrice, HotItem, LocalItem, NewSeller, Sale, SellerPrice, UserSession

PICKLED = Types.PICKLED_BYTE_ARRAY()


class EventTime(TimestampAssigner):
    def extract_timestamp(self, event: Event, record_timestamp: int) -> int:
        return round(event.time * 1_000)


def query(build: Callable[[DataStream], DataStream], *, timed: bool = True) -> Query:
    """The query whose steps between source and sink a function adds."""

    def prepare(events: Sequence[Event], results: list[Any] | None) -> Callable[[], object]:
        env = StreamExecutionEnvironment.get_execution_environment()
        env.set_parallelism(1)
        env.set_python_executable(sys.executable)
        stream = env.from_collection(events)
        if timed:
            strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(2))
            stream = stream.assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(EventTime()))
        stream = build(stream)
        if results is not None:
            return partial(collect, stream, results)
        sink = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
        stream._j_data_stream.sinkTo(sink)
        execute: Callable[[], object] = env.execute
        return execute

    return prepare


def collect(stream: DataStream, results: list[Any]) -> None:
    with stream.execute_and_collect() as found:
        results += found


def same(event: Event) -> Event:
    return event


def q0(events: DataStream) -> DataStream:
    return events.map(same)


def in_euros(bid: Bid) -> Bid:
    return Bid(bid.auction, bid.bidder, bid.price * 89 // 100, bid.time)


def q1(events: DataStream) -> DataStream:
    return events.filter(is_bid).map(in_euros)


def q2(events: DataStream) -> DataStream:
    some = events.filter(is_bid).filter(lambda bid: bid.auction % 123 == 0)
    return some.map(lambda bid: AuctionPrice(bid.auction, bid.price))


class JoinItems(KeyedCoProcessFunction):
    def open(self, context: RuntimeContext) -> None:
        self.person = context.get_state(ValueStateDescriptor("person", PICKLED))
        self.auctions = context.get_list_state(ListStateDescriptor("auctions", PICKLED))

    def process_element1(self, person: Person, context: Any) -> Iterator[LocalItem]:
        self.person.update(person)
        for auction in self.auctions.get() or ():
            yield LocalItem(person.name, person.city, person.state, auction.id)
        self.auctions.clear()

    def process_element2(self, auction: Auction, context: Any) -> Iterator[LocalItem]:
        person = self.person.value()
        if person is None:
            self.auctions.add(auction)
        else:
            yield LocalItem(person.name, person.city, person.state, auction.id)


def q3(events: DataStream) -> DataStream:
    people = events.filter(is_person).filter(lambda person: person.state in ("OR", "ID", "CA"))
    auctions = events.filter(is_auction).filter(lambda auction: auction.category == 10)
    both = people.connect(auctions)
    return both.key_by(lambda person: person.id, lambda auction: auction.seller).process(JoinItems())


KEEP = 60_000
"""Milliseconds for which a bid waits for its auction to open."""


class WinningBids(KeyedCoProcessFunction):
    def open(self, context: RuntimeContext) -> None:
        self.auction = context.get_state(ValueStateDescriptor("auction", PICKLED))
        self.best = context.get_state(ValueStateDescriptor("best", PICKLED))
        self.early = context.get_list_state(ListStateDescriptor("early", PICKLED))

    def process_element1(self, auction: Auction, context: Any) -> None:
        self.auction.update(auction)
        for bid in self.early.get() or ():
            self.consider(auction, bid)
        self.early.clear()
        context.timer_service().register_event_time_timer(round(auction.expires * 1_000))

    def process_element2(self, bid: Bid, context: Any) -> None:
        auction = self.auction.value()
        if auction is None:
            self.early.add(bid)
            context.timer_service().register_event_time_timer((context.timestamp() // KEEP + 2) * KEEP)
        else:
            self.consider(auction, bid)

    def consider(self, auction: Auction, bid: Bid) -> None:
        if bid.time < auction.expires and bid.price >= auction.reserve:
            best = self.best.value()
            if best is None or (bid.price, -bid.time) > (best.price, -best.time):
                self.best.update(bid)

    def on_timer(self, timestamp: int, context: Any) -> Iterator[Sale]:
        auction, best = self.auction.value(), self.best.value()
        if auction is None:
            self.early.clear()
        elif timestamp == round(auction.expires * 1_000):
            if best is not None:
                yield Sale(auction, best)
            self.auction.clear()
            self.best.clear()


def sales(events: DataStream) -> DataStream:
    both = events.filter(is_auction).connect(events.filter(is_bid))
    return both.key_by(lambda auction: auction.id, lambda bid: bid.auction).process(WinningBids())


class Mean(AggregateFunction):
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, sale: Sale, total: tuple[int, int]) -> tuple[int, int]:
        return total[0] + sale.bid.price, total[1] + 1

    def get_result(self, total: tuple[int, int]) -> float:
        return total[0] / total[1]

    def merge(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        return one[0] + other[0], one[1] + other[1]


class WithCategory(ProcessWindowFunction):
    def process(self, key: int, context: Any, results: Iterable[float]) -> Iterator[CategoryPrice]:
        for average in results:
            yield CategoryPrice(key, average, context.window().end / 1_000)


def sliding() -> SlidingEventTimeWindows:
    return SlidingEventTimeWindows.of(Time.seconds(10), Time.seconds(2))


def tumbling() -> TumblingEventTimeWindows:
    return TumblingEventTimeWindows.of(Time.seconds(10))


def q4(events: DataStream) -> DataStream:
    by_category = sales(events).key_by(lambda sale: sale.auction.category)
    return by_category.window(sliding()).aggregate(Mean(), WithCategory())


class Count(AggregateFunction):
    def create_accumulator(self) -> int:
        return 0

    def add(self, bid: Bid, count: int) -> int:
        return count + 1

    def get_result(self, count: int) -> int:
        return count

    def merge(self, one: int, other: int) -> int:
        return one + other


class WithAuction(ProcessWindowFunction):
    def process(self, key: int, context: Any, results: Iterable[int]) -> Iterator[HotItem]:
        for count in results:
            yield HotItem(key, count, context.window().end / 1_000)


class Hottest(ProcessAllWindowFunction):
    def process(self, context: Any, items: Iterable[HotItem]) -> Iterable[HotItem]:
        all_ = list(items)
        most = max(item.bids for item in all_)
        return [item for item in all_ if item.bids == most]


def q5(events: DataStream) -> DataStream:
    counted = events.filter(is_bid).key_by(lambda bid: bid.auction).window(sliding()).aggregate(Count(), WithAuction())
    return counted.window_all(TumblingEventTimeWindows.of(Time.seconds(2))).process(Hottest())


class LastTen(KeyedProcessFunction):
    """Takes sales in the order in which they closed: each waits until none can come that closed earlier."""

    def open(self, context: RuntimeContext) -> None:
        self.waiting = context.get_list_state(ListStateDescriptor("waiting", PICKLED))
        self.prices = context.get_list_state(ListStateDescriptor("prices", PICKLED))

    def process_element(self, sale: Sale, context: Any) -> None:
        self.waiting.add(sale)
        context.timer_service().register_event_time_timer(context.timestamp())

    def on_timer(self, timestamp: int, context: Any) -> Iterator[SellerPrice]:
        waiting = sorted(self.waiting.get(), key=lambda sale: (sale.auction.expires, sale.auction.id))
        prices = list(self.prices.get() or ())
        while waiting and round(waiting[0].auction.expires * 1_000) <= timestamp:
            prices = [*prices[-9:], waiting.pop(0).bid.price]
            yield SellerPrice(context.get_current_key(), sum(prices) / len(prices))
        self.prices.update(prices)
        self.waiting.update(waiting)


def q6(events: DataStream) -> DataStream:
    return sales(events).key_by(lambda sale: sale.auction.seller).process(LastTen())


class Highest(AggregateFunction):
    def create_accumulator(self) -> list[Bid]:
        return []

    def add(self, bid: Bid, highest: list[Bid]) -> list[Bid]:
        if not highest or bid.price > highest[0].price:
            return [bid]
        return [*highest, bid] if bid.price == highest[0].price else highest

    def get_result(self, highest: list[Bid]) -> list[Bid]:
        return highest

    def merge(self, one: list[Bid], other: list[Bid]) -> list[Bid]:
        raise NotImplementedError


def q7(events: DataStream) -> DataStream:
    highest = events.filter(is_bid).window_all(tumbling()).aggregate(Highest())
    return highest.flat_map(lambda bids: bids)


class NewSellers(ProcessWindowFunction):
    def process(self, key: int, context: Any, both: Iterable[Person | Auction]) -> Iterable[NewSeller]:
        events = list(both)
        people = [event for event in events if isinstance(event, Person)]
        auctions = [event for event in events if isinstance(event, Auction)]
        return [NewSeller(person.id, person.name, auction.reserve) for person in people for auction in auctions]


def person_or_seller(event: Person | Auction) -> int:
    return event.id if isinstance(event, Person) else event.seller


def q8(events: DataStream) -> DataStream:
    """PyFlink has no windowed join: both sides in one stream."""
    both = events.filter(lambda event: not isinstance(event, Bid))
    return both.key_by(person_or_seller).window(tumbling()).process(NewSellers())


class WithBidder(ProcessWindowFunction):
    def process(self, key: int, context: Any, results: Iterable[int]) -> Iterator[UserSession]:
        window = context.window()
        for count in results:
            yield UserSession(key, count, window.start / 1_000, window.end / 1_000)


def q11(events: DataStream) -> DataStream:
    by_bidder = events.filter(is_bid).key_by(lambda bid: bid.bidder)
    return by_bidder.window(EventTimeSessionWindows.with_gap(Time.seconds(10))).aggregate(Count(), WithBidder())


QUERIES = {function.__name__: query(function, timed=False) for function in (q0, q1, q2, q3)} | {
    function.__name__: query(function) for function in (q4, q5, q6, q7, q8, q11)
}

if __name__ == "__main__":
    measure(version("apache-flink"), QUERIES)
