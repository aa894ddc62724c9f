"""What the programs of NEXMARK's queries share: the events, the check of what comes out, and the measuring.

Each runs in its peer's virtual environment, with `examples/nexmark` on its path, and prints one line of JSON for the
query that the command line names. A query is made ready for some events and for where its results go: to a list, to be
checked against the direct computation over a few events, or to nobody, to be measured over many. Only the run is
timed; one over a handful of events tells what starting takes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from direct import DIRECT
from events import Event
from generator import generate

__all__ = ["Query", "measure", "nothing"]

Query = Callable[[Sequence[Event], list[Any] | None], Callable[[], object]]
"""Makes ready what runs over the events to their end; results go to the list if there is one."""

EVENTS = 100_000
RATE = 1_000
"""Events in a second of event time: windows of ten seconds hold a tenth of all."""
FEW = 500
CHECKED = 20_000
"""Over a hundred seconds of event time."""
LONG = 30.0
"""Seconds after which a slow peer has shown enough."""


def nothing(result: Any) -> None:
    pass


def measure(version: str, queries: Mapping[str, Query], rounds: int = 3) -> None:
    """The main program of a peer."""
    name = sys.argv[1]
    query = queries.get(name)
    if query is None:
        print(json.dumps({"version": version}))
        return
    check(name, query)
    few, many = list(generate(FEW, rate=RATE)), list(generate(EVENTS, rate=RATE))
    seconds: dict[str, list[float]] = {"start": [], "run": [], "direct": []}
    until = time.perf_counter() + LONG
    while len(seconds["run"]) < rounds and (not seconds["run"] or time.perf_counter() < until):
        seconds["direct"].append(timed(lambda: DIRECT[name](many)))
        seconds["start"].append(timed(query(few, None)))
        seconds["run"].append(timed(query(many, None)))
    print()  # ends what a peer may have left on the line
    print(json.dumps({"version": version, "events": EVENTS, **seconds}))


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def check(name: str, query: Query) -> None:
    events = list(generate(CHECKED, rate=CHECKED / 100))
    results: list[Any] = []
    query(events, results)()
    found, wanted = in_order(results), in_order(DIRECT[name](events))
    if found != wanted:
        strange = [result for result in found if result not in wanted][:3]
        raise AssertionError(f"{len(found)} results instead of {len(wanted)}; strange are {strange}")


def in_order(results: Iterable[Any]) -> list[Any]:
    return sorted(results, key=repr)
