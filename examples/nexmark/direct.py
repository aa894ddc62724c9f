"""What each query has to put out, computed over all events at once: sorted, grouped in dicts, no streams, no SAGE.

Each function takes the events in any order and gives the results in any order.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from events import Auction, Bid, Event, Person
from results import (
    AuctionPrice,
    CategoryPrice,
    HotItem,
    LocalItem,
    NewSeller,
    Sale,
    SellerPrice,
    UserSession,
)

__all__ = ["DIRECT", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q11"]


def q0(events: Iterable[Event]) -> list[Event]:
    return list(events)


def q1(events: Iterable[Event]) -> list[Bid]:
    return [
        Bid(event.auction, event.bidder, event.price * 89 // 100, event.time)
        for event in events
        if isinstance(event, Bid)
    ]


def q2(events: Iterable[Event]) -> list[AuctionPrice]:
    return [
        AuctionPrice(event.auction, event.price)
        for event in events
        if isinstance(event, Bid) and event.auction % 123 == 0
    ]


def q3(events: Iterable[Event]) -> list[LocalItem]:
    people: dict[int, Person] = {}
    auctions = []
    for event in events:
        if isinstance(event, Person):
            people[event.id] = event
        elif isinstance(event, Auction) and event.category == 10:
            auctions.append(event)
    found = []
    for auction in auctions:
        person = people.get(auction.seller)
        if person and person.state in ("OR", "ID", "CA"):
            found.append(LocalItem(person.name, person.city, person.state, auction.id))
    return found


def sales(events: Iterable[Event]) -> list[Sale]:
    """Of each auction the earliest of the highest valid bids."""
    auctions = {}
    bids = []
    for event in events:
        if isinstance(event, Auction):
            auctions[event.id] = event
        elif isinstance(event, Bid):
            bids.append(event)
    best: dict[int, Bid] = {}
    for bid in bids:
        auction = auctions.get(bid.auction)
        if auction is None or bid.time >= auction.expires or bid.price < auction.reserve:
            continue
        so_far = best.get(bid.auction)
        if so_far is None or (bid.price, -bid.time) > (so_far.price, -so_far.time):
            best[bid.auction] = bid
    return [Sale(auctions[number], bid) for number, bid in best.items()]


def q4(events: Iterable[Event]) -> list[CategoryPrice]:
    prices = defaultdict(list)
    for auction, bid in sales(events):
        for end in window_ends(auction.expires):
            prices[end, auction.category].append(bid.price)
    return [CategoryPrice(category, sum(all_) / len(all_), end) for (end, category), all_ in prices.items()]


def q5(events: Iterable[Event]) -> list[HotItem]:
    counts: dict[float, Counter[int]] = defaultdict(Counter)
    for event in events:
        if isinstance(event, Bid):
            for end in window_ends(event.time):
                counts[end][event.auction] += 1
    return [
        HotItem(auction, count, end)
        for end, counted in counts.items()
        for most in [max(counted.values())]
        for auction, count in counted.items()
        if count == most
    ]


def q6(events: Iterable[Event]) -> list[SellerPrice]:
    last: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=10))
    found = []
    for auction, bid in sorted(sales(events), key=lambda sale: (sale.auction.expires, sale.auction.id)):
        prices = last[auction.seller]
        prices.append(bid.price)
        found.append(SellerPrice(auction.seller, sum(prices) / len(prices)))
    return found


def q7(events: Iterable[Event]) -> list[Bid]:
    bids = sorted((event for event in events if isinstance(event, Bid)), key=lambda bid: bid.price)
    highest = {bid.time // 10: bid.price for bid in bids}  # the last one stays
    return [bid for bid in bids if bid.price == highest[bid.time // 10]]


def q8(events: Iterable[Event]) -> list[NewSeller]:
    new: dict[tuple[float, int], Person] = {}
    auctions = []
    for event in events:
        if isinstance(event, Person):
            new[event.time // 10, event.id] = event
        elif isinstance(event, Auction):
            auctions.append(event)
    return [
        NewSeller(person.id, person.name, auction.reserve)
        for auction in auctions
        for person in [new.get((auction.time // 10, auction.seller))]
        if person
    ]


def q11(events: Iterable[Event]) -> list[UserSession]:
    by_bidder = defaultdict(list)
    for event in events:
        if isinstance(event, Bid):
            by_bidder[event.bidder].append(round(event.time * 1_000))
    return [
        UserSession(bidder, len(session), session[0] / 1_000, (session[-1] + 10_000) / 1_000)
        for bidder, times in by_bidder.items()
        for session in sessions(sorted(times))
    ]


def window_ends(time: float) -> Iterator[float]:
    """Of the windows of ten seconds, one every two, that a time belongs to."""
    first = time // 2 * 2 + 2
    return (first + 2 * number for number in range(5))


def sessions(times: Sequence[int]) -> Iterator[Sequence[int]]:
    """Sorted times in milliseconds, parted where more than ten seconds lie between two."""
    start = 0
    for place in range(1, len(times)):
        if times[place] - times[place - 1] > 10_000:
            yield times[start:place]
            start = place
    yield times[start:]


DIRECT: Mapping[str, Callable[[Iterable[Event]], list[Any]]] = {
    "q0": q0,
    "q1": q1,
    "q2": q2,
    "q3": q3,
    "q4": q4,
    "q5": q5,
    "q6": q6,
    "q7": q7,
    "q8": q8,
    "q11": q11,
}
