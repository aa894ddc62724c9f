"""A million timers of event time, set by a million records and fired by the watermark, against a heap of them.

The loop keeps (time, key) in a heap and calls a function for each that time has passed. Timers are set for 10,000 keys,
a hundred seconds ahead of each record; once each at a time of its own, and once all at the end, when no time is left.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from _measure import in_turn, report

from sage.core.api import LocalEnvironment, ProcessFunction, Timer

RECORDS = 1_000_000
KEYS = 10_000
AHEAD = 100

fired: list[int] = [0]


def plain_loop(fire: Callable[[int, int], None]) -> None:
    waiting: list[tuple[int, int]] = []
    for time in range(RECORDS):
        heapq.heappush(waiting, (time + AHEAD, time % KEYS))
        while waiting[0][0] < time:
            fire(*heapq.heappop(waiting))
    while waiting:
        fire(*heapq.heappop(waiting))


def count(time: int, key: int) -> None:
    fired[0] += 1


class Alarm(ProcessFunction[int, int]):
    """Sets a timer for each record."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def execute(self, value: int) -> None:
        self.context.set_timer(value + self.ahead)

    def on_timer(self, timer: Timer) -> None:
        fired[0] += 1


def on_sage(ahead: int) -> None:
    env = LocalEnvironment("timers")
    timed = env.from_batch(range(RECORDS)).assign_timestamps(float)
    timed.keyby(lambda number: number % KEYS).process(Alarm, ahead).sink(print)
    env.submit(autostop=True)


def checked(run: Callable[[], None]) -> Callable[[], None]:
    """Run, and see that every timer has fired."""

    def whole() -> None:
        fired[0] = 0
        run()
        assert fired[0] == RECORDS

    return whole


def main() -> None:
    measured = in_turn(
        {
            "plain loop with a heap": checked(lambda: plain_loop(count)),
            "sage, as time goes on": checked(lambda: on_sage(AHEAD)),
            "sage, all at the end": checked(lambda: on_sage(2 * RECORDS)),
        },
        rounds=5,
    )
    report(
        "1,000,000 timers set and fired",
        measured,
        [
            ("sage, as time goes on", "plain loop with a heap", "as time goes on, over the plain loop"),
            ("sage, all at the end", "plain loop with a heap", "all at the end, over the plain loop"),
        ],
    )


if __name__ == "__main__":
    main()
