"""Query 3, local item suggestion: who sells in Oregon, Idaho or California what of category 10.

SELECT person.name, person.city, person.state, auction.id
FROM auction JOIN person ON auction.seller = person.id
WHERE auction.category = 10 AND person.state IN ('OR', 'ID', 'CA')

The join runs on: a person is remembered for all auctions that follow, and an auction waits for its seller.
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Auction, Event, Person
from results import LocalItem
from streams import auctions_of, people_of

from sage.core.api import DataStream, Environment


def local_item(person: Person, auction: Auction) -> LocalItem:
    return LocalItem(person.name, person.city, person.state, auction.id)


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[LocalItem]:
    all_events = env.from_batch(events)
    people = people_of(all_events).filter(lambda person: person.state in ("OR", "ID", "CA"))
    auctions = auctions_of(all_events).filter(lambda auction: auction.category == 10)
    by_seller = people.connect(auctions).keyby(lambda person: person.id, lambda auction: auction.seller)
    return by_seller.join(local_item, parallelism=parallelism)
