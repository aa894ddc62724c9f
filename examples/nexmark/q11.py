"""Query 11, user sessions: how many bids a user made before a pause of more than 10 seconds.

SELECT bidder, COUNT(*), session start, session end FROM bid GROUP BY bidder, SESSION(time, 10 seconds)
"""

from __future__ import annotations

from collections.abc import Iterable

from events import Event
from results import UserSession
from streams import bids_of, with_times

from sage.core.api import Counting, DataStream, Environment, Session, WindowResult


def user_session(count: WindowResult[int]) -> UserSession:
    return UserSession(count.key, count.value, count.window.start, count.window.end)


def pipeline(env: Environment, events: Iterable[Event], parallelism: int = 1) -> DataStream[UserSession]:
    by_bidder = bids_of(with_times(env, events)).keyby(lambda bid: bid.bidder)
    sessions = by_bidder.window(Session(10)).aggregate(Counting, with_window=True, parallelism=parallelism)
    return sessions.map(user_session)
