"""NEXMARK: the generator keeps to the definition, and each pipeline puts out what a direct computation does."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import direct
import pytest
from events import Auction, Bid, Event, Person
from generator import MAX_DELAY, generate
from queries import PIPELINES
from results import AuctionPrice, CategoryPrice, HotItem, LocalItem, NewSeller, Sale, SellerPrice, UserSession

from sage.core.api import LocalEnvironment

RUN = Path(__file__).parents[1] / "examples" / "nexmark" / "run.py"


def person(number: int, time: float = 0, state: str = "OR") -> Person:
    return Person(number, "Ada", "ada@x.example", "0000", "Bend", state, time)


def auction(
    number: int, expires: float, time: float = 0, seller: int = 1, reserve: int = 5, category: int = 10
) -> Auction:
    return Auction(number, "item", "description", 1, reserve, time, expires, seller, category)


def test_every_fifty_events_are_a_person_three_auctions_and_bids() -> None:
    """In this order, with ids that count up from 1,000 and times by the rate."""
    events = list(generate(5_000, rate=100))
    kinds = [type(event) for event in events]
    assert kinds == 100 * ([Person] + 3 * [Auction] + 46 * [Bid])
    assert [event.id for event in events if isinstance(event, Person)] == list(range(1_000, 1_100))
    assert [event.id for event in events if isinstance(event, Auction)] == list(range(1_000, 1_300))
    assert [round((event.time - events[0].time) * 100) for event in events] == list(range(5_000))


def test_a_seed_gives_the_same_events_again() -> None:
    """Seed and arguments alone decide; another seed gives other events."""
    assert list(generate(1_000, 5, 100, 1.5)) == list(generate(1_000, 5, 100, 1.5))
    assert list(generate(1_000, 5)) != list(generate(1_000, 6))


def test_more_events_begin_with_the_same_ones() -> None:
    """The number of events says where the stream ends, nothing else."""
    assert list(generate(2_000))[:1_000] == list(generate(1_000))


@pytest.mark.parametrize("delay", [0.1, MAX_DELAY])
def test_out_of_order_events_are_the_same_and_late_by_a_bounded_time(delay: float) -> None:
    """None arrives after one that happened the delay later, and not a few do arrive after later ones."""
    arrived = list(generate(5_000, rate=500, out_of_order=delay))
    in_order = list(generate(5_000, rate=500))
    assert arrived != in_order and sorted(arrived, key=repr) == sorted(in_order, key=repr)
    newest, late = arrived[0].time, 0
    for event in arrived:
        assert event.time > newest - delay
        late += event.time < newest
        newest = max(newest, event.time)
    assert late > 2_000


@pytest.mark.parametrize("delay", [-1, MAX_DELAY + 1, float("nan")])
def test_a_delay_that_pipelines_do_not_wait_for_is_refused(delay: float) -> None:
    """It would make results depend on chance."""
    with pytest.raises(ValueError, match="out_of_order"):
        generate(1, out_of_order=delay)


def test_some_are_hot_and_only_the_active_take_part() -> None:
    """One auction in a hundred gets half of the bids; one person in a hundred does three quarters of all there is."""
    people = auctions = 0
    hot: Counter[str] = Counter()
    for event in generate(100_000):
        match event:
            case Person():
                people += 1
            case Auction():
                auctions += 1
                assert people - 1_000 <= event.seller - 1_000 < people + 10
                assert event.initial_bid < event.reserve and event.time < event.expires
                hot["sellers"] += event.seller % 100 == 0
            case Bid():
                # The oldest hot auction is the first of the last hundred.
                assert auctions - 101 <= event.auction - 1_000 < auctions + 10
                assert people - 1_000 <= event.bidder - 1_000 < people + 10
                hot["auctions"] += event.auction % 100 == 0
                hot["bidders"] += event.bidder % 100 == 1
    assert 0.75 < hot["sellers"] / auctions < 0.77
    assert 0.49 < hot["auctions"] / 92_000 < 0.52
    assert 0.75 < hot["bidders"] / 92_000 < 0.77


def test_selections_by_hand() -> None:
    """Queries 0 to 3 on a handful of events."""
    seller, other = person(1, state="CA"), person(2, state="WY")
    sold, unsold, elsewhere = auction(246, 9), auction(7, 9, category=11), auction(8, 9, seller=2)
    bid, unwanted = Bid(246, 3, 1_000, 1), Bid(247, 3, 99, 2)
    events: list[Event] = [bid, sold, unsold, elsewhere, other, unwanted, seller]
    assert direct.q0(events) == events
    assert direct.q1(events) == [Bid(246, 3, 890, 1), Bid(247, 3, 88, 2)]
    assert direct.q2(events) == [AuctionPrice(246, 1_000)]
    assert direct.q3(events) == [LocalItem("Ada", "Bend", "CA", 246)]


def test_sales_by_hand() -> None:
    """The earliest of the highest bids wins, if it came in time and reaches the reserve."""
    first, second, third = auction(1, 9, category=10), auction(2, 10, category=10), auction(3, 10)
    won, also = Bid(1, 7, 8, 2), Bid(2, 7, 5, 4)
    events: list[Event] = [
        Bid(1, 8, 8, 3),  # as high, but later
        won,
        Bid(1, 8, 99, 9),  # too late
        Bid(2, 8, 4, 4),  # below the reserve
        also,
        Bid(3, 8, 4, 4),
        first,
        second,
        third,
    ]
    assert direct.sales(events) == [Sale(first, won), Sale(second, also)]
    assert direct.q6(events) == [SellerPrice(1, 8.0), SellerPrice(1, 6.5)]
    assert sorted(direct.q4(events)) == [
        CategoryPrice(10, 5.0, 20.0),
        *(CategoryPrice(10, 6.5, end) for end in (12.0, 14.0, 16.0, 18.0)),
        CategoryPrice(10, 8.0, 10.0),
    ]


def test_only_the_last_ten_sales_count() -> None:
    """The average price of a seller forgets the eleventh."""
    events: list[Event] = [auction(number, number + 1) for number in range(11)]
    events += [Bid(number, 1, 10 + 10 * number, 0) for number in range(11)]
    assert direct.q6(events)[-2:] == [SellerPrice(1, 55.0), SellerPrice(1, 65.0)]


def test_windows_by_hand() -> None:
    """Queries 5, 7, 8 and 11 on a handful of events."""
    events: list[Event] = [Bid(1, 1, 5, 1), Bid(2, 1, 7, 10.999), Bid(1, 2, 7, 10), Bid(1, 1, 3, 21)]
    assert sorted(direct.q5(events)) == [
        *(HotItem(1, 1, end) for end in (2, 4, 6, 8, 10)),
        *(HotItem(1, 1, end) for end in (12, 14, 16, 18, 20)),
        *(HotItem(1, 1, end) for end in (22, 24, 26, 28, 30)),
        *(HotItem(2, 1, end) for end in (12, 14, 16, 18, 20)),
    ]
    assert direct.q7(events) == [Bid(1, 1, 3, 21), Bid(1, 1, 5, 1), Bid(2, 1, 7, 10.999), Bid(1, 2, 7, 10)]
    assert sorted(direct.q11(events)) == [
        UserSession(1, 1, 21, 31),
        UserSession(1, 2, 1, 20.999),
        UserSession(2, 1, 10, 20),
    ]
    sellers: list[Event] = [auction(1, 9, 9.999), person(1, 0), auction(2, 30, 10), auction(3, 9, 1, seller=2)]
    assert direct.q8(sellers) == [NewSeller(1, "Ada", 5)]


def ordered(results: Iterable[Any]) -> list[Any]:
    return sorted(results, key=repr)


def run(query: str, events: Sequence[Event], backend: str, parallelism: int) -> list[Any]:
    env = LocalEnvironment(query, backend)
    results = PIPELINES[query](env, events, parallelism).collect()
    env.submit(autostop=True)
    return results


@pytest.mark.parametrize("delay", [0, MAX_DELAY], ids=["in-order", "out-of-order"])
@pytest.mark.parametrize("parallelism", [1, 4])
@pytest.mark.parametrize("backend", ["inline", "local"])
@pytest.mark.parametrize("query", PIPELINES)
def test_a_pipeline_puts_out_what_a_direct_computation_does(
    query: str, backend: str, parallelism: int, delay: float
) -> None:
    """The same results, in whatever order, over a hundred seconds of event time."""
    events = list(generate(2_500, rate=25, out_of_order=delay))
    results = run(query, events, backend, parallelism)
    assert results
    assert ordered(results) == ordered(direct.DIRECT[query](events))


@pytest.mark.parametrize("query", PIPELINES)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_pipeline_is_right_about_next_to_no_events(query: str, count: int) -> None:
    """None, one person, or one bid on the first of three auctions."""
    events = list(generate(count))
    assert ordered(run(query, events, "inline", 2)) == ordered(direct.DIRECT[query](events))


def test_it_runs_from_a_terminal() -> None:
    """As its README says: results are printed, or compared."""

    def output(*arguments: str) -> list[str]:
        command = [sys.executable, str(RUN), *arguments, "--events", "2000"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()

    printed = output("q7")
    assert len(printed) == 2 and all(line.startswith("Bid(") for line in printed)
    assert output("q5", "--out-of-order", "2", "--parallelism", "4", "--check") == [
        f"q5: {len(direct.q5(generate(2_000, rate=100)))} results, as computed directly"
    ]
