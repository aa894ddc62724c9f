"""Query 2, selection: the bids on certain auctions.

SELECT auction, price FROM bid WHERE auction % 123 = 0
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Bid, Event
from results import AuctionPrice
from streams import bids_of

from sage.core.api import DataStream, Environment


def is_wanted(bid: Bid) -> bool:
    return bid.auction % 123 == 0


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[AuctionPrice]:
    wanted = bids_of(env.from_batch(events)).filter(is_wanted, parallelism=parallelism)
    return wanted.map(lambda bid: AuctionPrice(bid.auction, bid.price), parallelism=parallelism)
