"""NEXMARK on bytewax: events in batches from the source on, and its own windows and joins.

Its windows are closed by each key's own clock, which goes on with the system's. Queries 4 and 6 have no counterpart:
an auction closes at a time that it names itself, and bytewax has neither timers in event time nor windows that see
what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from events import Auction, Bid, Event, Person, is_auction, is_bid, is_person
from nexmark_work import Query, measure, nothing
from results import AuctionPrice, HotItem, LocalItem, NewSeller, UserSession

BATCH = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Given(DynamicSource[Event]):
    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSourcePartition[Event]:
        return GivenPart(self.events)


class GivenPart(StatelessSourcePartition[Event]):
    def __init__(self, events: Sequence[Event]) -> None:
        self.left = iter(events)

    def next_batch(self) -> list[Event]:
        batch = list(islice(self.left, BATCH))
        if not batch:
            raise StopIteration
        return batch


class Calling(DynamicSink[Any]):
    """A sink that calls a function for each record."""

    def __init__(self, take: Callable[[Any], object]) -> None:
        self.take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Any]:
        return CallingPart(self.take)


class CallingPart(StatelessSinkPartition[Any]):
    def __init__(self, take: Callable[[Any], object]) -> None:
        self.take = take

    def write_batch(self, items: list[Any]) -> None:
        for item in items:
            self.take(item)


def query(build: Callable[[Stream[Any]], Stream[Any]]) -> Query:
    """The query whose steps between source and sink a function adds."""

    def prepare(events: Sequence[Event], results: list[Any] | None) -> Callable[[], None]:
        flow = Dataflow("query")
        op.output(
            "out", build(op.input("in", flow, Given(events))), Calling(nothing if results is None else results.append)
        )
        return partial(run_main, flow)

    return prepare


def when(event: Event) -> datetime:
    return datetime.fromtimestamp(event.time, UTC)


def clock() -> win.EventClock[Any]:
    """Waits for longer than a batch lasts: where streams meet, one's part of a batch comes before the other's."""
    return win.EventClock(when, wait_for_system_duration=10 * SECOND)


def tumbling() -> win.TumblingWindower:
    return win.TumblingWindower(10 * SECOND, EPOCH)


def q0(events: Stream[Event]) -> Stream[Event]:
    return op.map("same", events, lambda event: event)


def q1(events: Stream[Event]) -> Stream[Bid]:
    bids = op.filter("bids", events, is_bid)
    return op.map("euros", bids, lambda bid: Bid(bid.auction, bid.bidder, bid.price * 89 // 100, bid.time))


def q2(events: Stream[Event]) -> Stream[AuctionPrice]:
    bids = op.filter("bids", events, is_bid)
    some = op.filter("some", bids, lambda bid: bid.auction % 123 == 0)
    return op.map("price", some, lambda bid: AuctionPrice(bid.auction, bid.price))


Seen = tuple[Person | None, list[Auction]]


def join_item(seen: Seen | None, event: Person | Auction) -> tuple[Seen, Iterable[LocalItem]]:
    person, auctions = seen or (None, [])
    if isinstance(event, Person):
        person, ready = event, auctions
        auctions = []
    elif person is None:
        auctions.append(event)
        ready = []
    else:
        ready = [event]
    found = [LocalItem(person.name, person.city, person.state, auction.id) for auction in ready if person]
    return (person, auctions), found


def q3(events: Stream[Event]) -> Stream[LocalItem]:
    people = op.filter("people", events, is_person)
    local = op.filter("local", people, lambda person: person.state in ("OR", "ID", "CA"))
    auctions = op.filter("auctions", events, is_auction)
    items = op.filter("items", auctions, lambda auction: auction.category == 10)
    both = op.merge(
        "both",
        op.key_on("person", local, lambda person: str(person.id)),
        op.key_on("seller", items, lambda auction: str(auction.seller)),
    )
    return op.key_rm("unkey", op.stateful_flat_map("join", both, join_item))


def hottest(counts: list[tuple[int, int]], count: tuple[int, int]) -> list[tuple[int, int]]:
    if not counts or count[1] > counts[0][1]:
        return [count]
    if count[1] == counts[0][1]:
        counts.append(count)
    return counts


def q5(events: Stream[Event]) -> Stream[HotItem]:
    """The hottest of a window are known at the end of the input alone: nothing says that its counts are complete."""
    bids = op.filter("bids", events, is_bid)
    windower = win.SlidingWindower(10 * SECOND, 2 * SECOND, EPOCH)
    counted = win.count_window("count", bids, clock(), windower, lambda bid: str(bid.auction))
    by_window = op.map("by window", counted.down, lambda item: (str(item[1][0]), (int(item[0]), item[1][1])))
    hot = op.fold_final("hottest", by_window, list, hottest)
    return op.flat_map(
        "items",
        hot,
        lambda item: [HotItem(auction, count, int(item[0]) * 2.0 + 10) for auction, count in item[1]],
    )


def higher(highest: list[Bid], bid: Bid) -> list[Bid]:
    if not highest or bid.price > highest[0].price:
        return [bid]
    if bid.price == highest[0].price:
        highest.append(bid)
    return highest


def q7(events: Stream[Event]) -> Stream[Bid]:
    bids = op.filter("bids", events, is_bid)
    all_ = op.key_on("all", bids, lambda bid: "")
    merge = list.__add__  # windows that do not merge never call it
    highest = win.fold_window("highest", all_, clock(), tumbling(), list, higher, merge)
    return op.flat_map("each", highest.down, lambda item: item[1][1])


def q8(events: Stream[Event]) -> Stream[NewSeller]:
    people = op.key_on("person", op.filter("people", events, is_person), lambda person: str(person.id))
    auctions = op.key_on("seller", op.filter("auctions", events, is_auction), lambda auction: str(auction.seller))
    joined = win.join_window("join", clock(), tumbling(), people, auctions, insert_mode="product")

    def new_seller(item: Any) -> NewSeller | None:
        person, auction = item[1][1]
        return NewSeller(person.id, person.name, auction.reserve) if person and auction else None

    return op.filter_map("new", joined.down, new_seller)


Session = tuple[int, float, float]


def start() -> Session:
    return 0, float("inf"), 0.0


def longer(session: Session, bid: Bid) -> Session:
    return session[0] + 1, min(session[1], bid.time), max(session[2], bid.time)


def merged(one: Session, other: Session) -> Session:
    return one[0] + other[0], min(one[1], other[1]), max(one[2], other[2])


def user_session(item: Any) -> UserSession:
    bidder, (_, (count, first, last)) = item
    return UserSession(int(bidder), count, first, (round(last * 1_000) + 10_000) / 1_000)


def q11(events: Stream[Event]) -> Stream[UserSession]:
    bids = op.key_on("bidder", op.filter("bids", events, is_bid), lambda bid: str(bid.bidder))
    sessions = win.fold_window("session", bids, clock(), win.SessionWindower(10 * SECOND), start, longer, merged)
    return op.map("result", sessions.down, user_session)


QUERIES = {function.__name__: query(function) for function in (q0, q1, q2, q3, q5, q7, q8, q11)}

if __name__ == "__main__":
    measure(version("bytewax"), QUERIES)
