"""How each query begins: with events of one kind."""

from __future__ import annotations

from events import Auction, Bid, Event, Person, is_auction, is_bid, is_person

from sage.core.api import DataStream

__all__ = ["auctions_of", "bids_of", "people_of"]


def people_of(events: DataStream[Event]) -> DataStream[Person]:
    return events.filter(is_person)


def auctions_of(events: DataStream[Event]) -> DataStream[Auction]:
    return events.filter(is_auction)


def bids_of(events: DataStream[Event]) -> DataStream[Bid]:
    return events.filter(is_bid)
