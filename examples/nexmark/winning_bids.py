"""The sale of each auction once it has closed: what queries 4 and 6 begin with.

SELECT auction.*, bid.* FROM auction JOIN bid ON bid.auction = auction.id
WHERE bid.time < auction.expires AND bid.price >= auction.reserve
of each auction the highest bid, of several the earliest, when auction.expires has come
"""

from __future__ import annotations

from collections.abc import Iterator

from events import Auction, Bid, Event
from results import Sale
from streams import auctions_of, bids_of

from sage.core.api import CoProcessFunction, DataStream, RuntimeContext, Timer

__all__ = ["winning_bids"]

PATIENCE = 60
"""Seconds for which a bid waits for its auction. Later than that it can only be for one that has closed."""


class WinningBids(CoProcessFunction):
    """Keeps the best bid of an open auction, and gives it when a timer says that the auction has closed."""

    def open(self, context: RuntimeContext) -> None:
        self.auction = context.value_state("auction")
        self.best = context.value_state("best")
        self.early = context.list_state("early", ttl=PATIENCE, ttl_time="event")

    def process0(self, auction: Auction) -> None:
        self.auction.set(auction)
        for bid in self.early.get():
            self.consider(auction, bid)
        self.early.clear()
        self.context.set_timer(auction.expires)

    def process1(self, bid: Bid) -> None:
        auction = self.auction.get()
        if auction is None:
            self.early.append(bid)
        else:
            self.consider(auction, bid)

    def consider(self, auction: Auction, bid: Bid) -> None:
        if bid.time < auction.expires and bid.price >= auction.reserve:
            best = self.best.get()
            if best is None or (bid.price, -bid.time) > (best.price, -best.time):
                self.best.set(bid)

    def on_timer(self, timer: Timer) -> Iterator[Sale]:
        if best := self.best.get():
            yield Sale(self.auction.get(), best)
        self.auction.clear()
        self.best.clear()


def winning_bids(events: DataStream[Event], parallelism: int) -> DataStream[Sale]:
    """The time of a sale is when its auction closed."""
    both = auctions_of(events).connect(bids_of(events))
    by_auction = both.keyby(lambda auction: auction.id, lambda bid: bid.auction)
    return by_auction.process(WinningBids, parallelism=parallelism)
