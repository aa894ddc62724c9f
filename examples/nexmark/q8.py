"""Query 8, monitor new users: who registered and put something up for auction within the same 10 seconds.

SELECT person.id, person.name, auction.reserve FROM person JOIN auction ON auction.seller = person.id
in windows TUMBLING(time, 10 seconds)
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Auction, Event, Person
from results import NewSeller
from streams import auctions_of, people_of, with_times

from sage.core.api import DataStream, Environment, Tumbling, Window


def person_of(event: Person | Auction) -> int:
    return event.id if isinstance(event, Person) else event.seller


def new_sellers(key: int, window: Window, events: list[Person | Auction]) -> Iterable[NewSeller]:
    people = [event for event in events if isinstance(event, Person)]
    auctions = [event for event in events if isinstance(event, Auction)]
    return [NewSeller(person.id, person.name, auction.reserve) for person in people for auction in auctions]


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[NewSeller]:
    all_events = with_times(env, events)
    both = people_of(all_events).union(auctions_of(all_events))
    return both.keyby(person_of).window(Tumbling(10)).process(new_sellers, parallelism=parallelism)
