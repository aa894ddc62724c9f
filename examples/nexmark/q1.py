"""Query 1, currency conversion: all bids, with prices in euros.

SELECT auction, bidder, 0.89 * price, time FROM bid
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Bid, Event
from streams import bids_of

from sage.core.api import DataStream, Environment


def in_euros(bid: Bid) -> Bid:
    return Bid(bid.auction, bid.bidder, bid.price * 89 // 100, bid.time)


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[Bid]:
    return bids_of(env.from_batch(events)).map(in_euros, parallelism=parallelism)
