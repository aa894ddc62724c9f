"""What the queries put out."""

from __future__ import annotations

from typing import NamedTuple

from events import Auction, Bid

__all__ = [
    "AuctionPrice",
    "CategoryPrice",
    "HotItem",
    "LocalItem",
    "NewSeller",
    "Sale",
    "SellerPrice",
    "UserSession",
]


class AuctionPrice(NamedTuple):
    auction: int
    price: int


class LocalItem(NamedTuple):
    name: str
    city: str
    state: str
    auction: int


class Sale(NamedTuple):
    """An auction that has closed, and the bid that won it."""

    auction: Auction
    bid: Bid


class CategoryPrice(NamedTuple):
    category: int
    average: float
    until: float
    """End of the window."""


class HotItem(NamedTuple):
    auction: int
    bids: int
    until: float


class SellerPrice(NamedTuple):
    seller: int
    average: float


class NewSeller(NamedTuple):
    person: int
    name: str
    reserve: int


class UserSession(NamedTuple):
    bidder: int
    bids: int
    start: float
    end: float
