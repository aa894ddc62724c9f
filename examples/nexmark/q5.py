"""Query 5, hot items: the auctions with the most bids in the last 10 seconds, every 2 seconds.

SELECT auction, COUNT(*) FROM bid GROUP BY auction, SLIDING(time, 10 seconds, every 2 seconds)
HAVING no other auction has a higher count in the same window

A count has the last instant of its window for a time. So those of one window, and of no other, are in one window of
two seconds, where the highest is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events import Event
from results import HotItem
from streams import bids_of, with_times

from sage.core.api import Counting, DataStream, Environment, Sliding, Tumbling, Window, WindowResult


def hottest(key: None, window: Window, counts: list[WindowResult[int]]) -> Iterator[HotItem]:
    most = max(count.value for count in counts)
    return (HotItem(count.key, count.value, window.end) for count in counts if count.value == most)


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[HotItem]:
    by_auction = bids_of(with_times(env, events)).keyby(lambda bid: bid.auction)
    counts = by_auction.window(Sliding(10, 2)).aggregate(Counting, with_window=True, parallelism=parallelism)
    return counts.window(Tumbling(2)).process(hottest)
