"""What all benchmarks share: runs in turn, medians, a table for people and a JSON line for machines."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Measured", "in_turn", "report"]

Measured = Mapping[str, list[float]]
"""Seconds of every run, by name of what was run."""


def in_turn(work: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> Measured:
    """Run everything ``rounds`` times, one after the other, so that the machine's moods hit all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(warmup + rounds):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def report(title: str, measured: Measured, ratios: Sequence[tuple[str, str, str]]) -> None:
    """Print medians, and for each (what, over, meaning) the median of the ratios taken round by round."""
    print(f"\n{title}")
    print(f"  {'':44} {'median':>10} {'fastest':>10} {'slowest':>10}")
    for name, seconds in measured.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"  {name:44} {middle * 1e3:8.1f}ms {low * 1e3:8.1f}ms {high * 1e3:8.1f}ms")
    found = {}
    for what, over, meaning in ratios:
        ratio = statistics.median(a / b for a, b in zip(measured[what], measured[over], strict=True))
        found[meaning] = round(ratio, 3)
        print(f"  {meaning:44} {ratio:9.2f}")
    data = {
        "benchmark": title,
        "python": platform.python_version(),
        "seconds": {name: statistics.median(seconds) for name, seconds in measured.items()},
        "ratios": found,
    }
    print(json.dumps(data))
