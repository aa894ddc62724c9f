"""Query 6, average selling price by seller: of the last 10 auctions that closed, with every one that closes.

SELECT seller, AVG(price) OVER (PARTITION BY seller ORDER BY sale.time ROWS 9 PRECEDING) FROM sale

Sales of one seller come from several subtasks, so each waits until none can come that closed earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events import Event
from results import Sale, SellerPrice
from streams import with_times
from winning_bids import winning_bids

from sage.core.api import DataStream, Environment, ProcessFunction, RuntimeContext, Timer, ValueState


class LastTen(ProcessFunction):
    def open(self, context: RuntimeContext) -> None:
        self.closed = context.map_state("closed")  # by time: the sales that wait for it
        self.prices: ValueState[tuple[int, ...]] = context.value_state("prices", ())

    def execute(self, sale: Sale) -> None:
        time = sale.auction.expires
        self.closed[time] = [*self.closed.get(time, ()), sale]
        self.context.set_timer(time)

    def on_timer(self, timer: Timer) -> Iterator[SellerPrice]:
        for sale in sorted(self.closed.pop(timer.at), key=lambda sale: sale.auction.id):
            prices = (*self.prices.get(), sale.bid.price)[-10:]
            self.prices.set(prices)
            yield SellerPrice(sale.auction.seller, sum(prices) / len(prices))


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[SellerPrice]:
    sales = winning_bids(with_times(env, events), parallelism)
    return sales.keyby(lambda sale: sale.auction.seller).process(LastTen, parallelism=parallelism)
