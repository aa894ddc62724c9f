"""How each query begins: the events with their times, of one kind."""

from __future__ import annotations

from collections.abc import Iterable

from events import Auction, Bid, Event, Person, event_time, is_auction, is_bid, is_person
from generator import MAX_DELAY

from sage.core.api import DataStream, Environment

__all__ = ["auctions_of", "bids_of", "people_of", "with_times"]


def with_times(env: Environment, events: Iterable[Event]) -> DataStream[Event]:
    """All events, in event time: none is expected to come later than `MAX_DELAY` seconds after a later one."""
    return env.from_batch(events).assign_timestamps(event_time, out_of_order=MAX_DELAY)


def people_of(events: DataStream[Event]) -> DataStream[Person]:
    return events.filter(is_person)


def auctions_of(events: DataStream[Event]) -> DataStream[Auction]:
    return events.filter(is_auction)


def bids_of(events: DataStream[Event]) -> DataStream[Bid]:
    return events.filter(is_bid)
