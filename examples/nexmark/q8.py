"""Query 8, monitor new users: who registered and put something up for auction within the same 10 seconds.

SELECT person.id, person.name, auction.reserve FROM person JOIN auction ON auction.seller = person.id
in windows TUMBLING(time, 10 seconds)
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Auction, Event, Person
from results import NewSeller
from streams import auctions_of, people_of, with_times

from sage.core.api import DataStream, Environment, Tumbling


def new_seller(person: Person, auction: Auction) -> NewSeller:
    return NewSeller(person.id, person.name, auction.reserve)


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[NewSeller]:
    all_events = with_times(env, events)
    both = people_of(all_events).connect(auctions_of(all_events))
    by_person = both.keyby(lambda person: person.id, lambda auction: auction.seller)
    return by_person.join(new_seller, window=Tumbling(10), parallelism=parallelism)
