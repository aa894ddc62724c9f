"""What happens at the auction house: people register, put items up for auction, and bid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

__all__ = ["Auction", "Bid", "Event", "Person", "event_time", "is_auction", "is_bid", "is_person"]


@dataclass(frozen=True)
class Person:
    id: int
    name: str
    email: str
    credit_card: str
    city: str
    state: str
    time: float
    """Seconds since the epoch, of whole milliseconds, as all times here."""


@dataclass(frozen=True)
class Auction:
    id: int
    item: str
    description: str
    initial_bid: int
    reserve: int
    """Cents, as all prices; no lower bid wins."""
    time: float
    expires: float
    """No bid at this time or later wins."""
    seller: int
    category: int


@dataclass(frozen=True)
class Bid:
    auction: int
    bidder: int
    price: int
    time: float


Event: TypeAlias = Person | Auction | Bid


def is_person(event: Event) -> TypeGuard[Person]:
    return isinstance(event, Person)


def is_auction(event: Event) -> TypeGuard[Auction]:
    return isinstance(event, Auction)


def is_bid(event: Event) -> TypeGuard[Bid]:
    return isinstance(event, Bid)


def event_time(event: Event) -> float:
    return event.time
