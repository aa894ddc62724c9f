"""Query 7, highest bid: of every 10 seconds.

SELECT bid.* FROM bid GROUP BY TUMBLING(time, 10 seconds) HAVING price = MAX(price)
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Bid, Event
from streams import bids_of, with_times

from sage.core.api import AggregateFunction, DataStream, Environment, Tumbling


class Highest(AggregateFunction[Bid, list[Bid], list[Bid]]):
    """All bids of the highest price."""

    def create(self) -> list[Bid]:
        return []

    def add(self, highest: list[Bid], bid: Bid) -> list[Bid]:
        if not highest or bid.price > highest[0].price:
            return [bid]
        if bid.price == highest[0].price:
            highest.append(bid)
        return highest


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[Bid]:
    """Windows without a key are one subtask's, whatever the parallelism of the rest."""
    highest = bids_of(with_times(env, events)).window(Tumbling(10)).aggregate(Highest)
    return highest.flatmap(lambda bids: bids, parallelism=parallelism)
