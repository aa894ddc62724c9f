"""Query 4, average price for a category: of the auctions that closed in the last 10 seconds, every 2 seconds.

SELECT category, AVG(price) FROM sale GROUP BY category, SLIDING(sale.time, 10 seconds, every 2 seconds)
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Event
from results import CategoryPrice, Sale
from streams import with_times
from winning_bids import winning_bids

from sage.core.api import AggregateFunction, DataStream, Environment, Sliding


class AveragePrice(AggregateFunction[Sale, tuple[int, int], float]):
    def create(self) -> tuple[int, int]:
        return 0, 0

    def add(self, total: tuple[int, int], sale: Sale) -> tuple[int, int]:
        return total[0] + sale.bid.price, total[1] + 1

    def merge(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        return one[0] + other[0], one[1] + other[1]

    def result(self, total: tuple[int, int]) -> float:
        return total[0] / total[1]


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[CategoryPrice]:
    sales = winning_bids(with_times(env, events), parallelism)
    by_category = sales.keyby(lambda sale: sale.auction.category)
    averages = by_category.window(Sliding(10, 2)).aggregate(AveragePrice, with_window=True, parallelism=parallelism)
    return averages.map(lambda average: CategoryPrice(average.key, average.value, average.window.end))
