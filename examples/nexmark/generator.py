"""The events of NEXMARK: the same ones for the same arguments, on every machine and Python.

Of every 50 events in a row the first is a new person, the next three are new auctions, the other 46 are bids. Who sells
and what is bid for is skewed: some are "hot", and others stand for them as the stream goes on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from string import ascii_lowercase

from events import Auction, Bid, Event, Person

__all__ = ["MAX_DELAY", "generate"]

MAX_DELAY = 2.0
"""Seconds by which an event may arrive later than one that happened after it, at most."""

START = 1_436_918_400_000
"""Time of the first event: 2015-07-15, midnight, in milliseconds."""

PEOPLE, AUCTIONS, BIDS = 1, 3, 46
CYCLE = PEOPLE + AUCTIONS + BIDS

FIRST_ID = 1_000
"""Of people and of auctions."""
FIRST_CATEGORY, CATEGORIES = 10, 5

ACTIVE_PEOPLE = 1_000
"""Only so many, the newest, do anything."""
AUCTIONS_IN_FLIGHT = 100
"""Bids are for so many, the newest; an auction lasts as long as it takes on average to open so many more."""
LEAD = 10
"""People and auctions so far ahead are spoken of already: their first event may come after that."""

HOT_BATCH = 100
"""Of so many people or auctions in a row one is hot."""
HOT_AUCTION_RATIO, HOT_SELLER_RATIO, HOT_BIDDER_RATIO = 2, 4, 4
"""All but one in so many are of the hot one."""

FIRST_NAMES = ["Ada", "Blaise", "Carl", "Emmy", "Grace", "Henri", "Kurt", "Leonhard", "Maryam", "Sofia", "Srinivasa"]
LAST_NAMES = ["Baker", "Carter", "Cooper", "Fisher", "Mason", "Miller", "Potter", "Smith", "Taylor"]
CITIES = ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Seattle", "Kent", "Cheyenne"]
STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]


def generate(count: int, seed: int = 1, rate: float = 10_000, out_of_order: float = 0) -> Iterator[Event]:
    """Give the first ``count`` events.

    Args:
        count: how many.
        seed: of everything that is left to chance.
        rate: events in a second of event time. It changes how much of the stream falls into a window.
        out_of_order: seconds, at most `MAX_DELAY`. Each event arrives late by a random time below it; 0 keeps the
            order in which they happen.
    """
    if not 0 <= out_of_order <= MAX_DELAY:
        raise ValueError(f"out_of_order is {out_of_order}; it has to be from 0 to {MAX_DELAY}")
    happened = _Generator(seed, rate).events(count)
    return _delayed(happened, out_of_order, Random(seed)) if out_of_order else happened


def _delayed(events: Iterator[Event], most: float, random: Random) -> Iterator[Event]:
    """In order of arrival. Held are only those that happened within the greatest delay."""
    held: list[tuple[float, int, Event]] = []
    for number, event in enumerate(events):
        while held and held[0][0] <= event.time:
            yield heapq.heappop(held)[2]
        heapq.heappush(held, (event.time + random.random() * most, number, event))
    while held:
        yield heapq.heappop(held)[2]


class _Generator:
    def __init__(self, seed: int, rate: float) -> None:
        self.random = Random(seed)
        self.rate = rate

    def events(self, count: int) -> Iterator[Event]:
        for number in range(count):
            cycle, place = divmod(number, CYCLE)
            time = self.milliseconds(number)
            if place < PEOPLE:
                yield self.person(cycle, time)
            elif place < PEOPLE + AUCTIONS:
                yield self.auction(cycle * AUCTIONS + place - PEOPLE, cycle, number, time)
            else:
                yield self.bid(cycle * AUCTIONS + AUCTIONS - 1, cycle, time)

    def milliseconds(self, number: int) -> int:
        """When an event happens."""
        return START + int(number * 1_000 / self.rate)

    def person(self, number: int, time: int) -> Person:
        random = self.random
        return Person(
            id=FIRST_ID + number,
            name=f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}",
            email=f"{self.word(7)}@{self.word(5)}.example",
            credit_card=" ".join(f"{random.randrange(10_000):04}" for _ in range(4)),
            city=random.choice(CITIES),
            state=random.choice(STATES),
            time=time / 1_000,
        )

    def auction(self, number: int, newest_person: int, event: int, time: int) -> Auction:
        random = self.random
        lasts_on_average = self.milliseconds(event + AUCTIONS_IN_FLIGHT * CYCLE // AUCTIONS) - time
        initial_bid = self.price()
        return Auction(
            id=FIRST_ID + number,
            item=self.word(20),
            description=self.word(100),
            initial_bid=initial_bid,
            reserve=initial_bid + self.price(),
            time=time / 1_000,
            expires=(time + 1 + random.randrange(max(2 * lasts_on_average, 1))) / 1_000,
            seller=FIRST_ID + self.person_near(newest_person, HOT_SELLER_RATIO, place=0),
            category=FIRST_CATEGORY + random.randrange(CATEGORIES),
        )

    def bid(self, newest_auction: int, newest_person: int, time: int) -> Bid:
        random = self.random
        if random.randrange(HOT_AUCTION_RATIO):
            auction = newest_auction // HOT_BATCH * HOT_BATCH
        else:
            oldest = max(newest_auction - AUCTIONS_IN_FLIGHT, 0)
            auction = random.randrange(oldest, newest_auction + 1 + LEAD)
        return Bid(
            auction=FIRST_ID + auction,
            bidder=FIRST_ID + self.person_near(newest_person, HOT_BIDDER_RATIO, place=1),
            price=self.price(),
            time=time / 1_000,
        )

    def person_near(self, newest: int, ratio: int, place: int) -> int:
        """The hot one (at that place of its batch, so that sellers and bidders differ), or any active one."""
        if self.random.randrange(ratio):
            return newest // HOT_BATCH * HOT_BATCH + place
        return self.random.randrange(max(newest + 1 - ACTIVE_PEOPLE, 0), newest + 1 + LEAD)

    def price(self) -> int:
        """From one to a million, low ones as likely as ten times as high ones; in cents."""
        return round(10 ** (self.random.random() * 6) * 100)

    def word(self, length: int) -> str:
        return "".join(self.random.choices(ascii_lowercase, k=length))
