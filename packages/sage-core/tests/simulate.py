"""Random pipelines under random schedules: from each seed one of both. A failing seed replays exactly.

As a program::

    simulate.py [COUNT [FIRST]]    that many seeds, from the first on (1000 from 0)
    simulate.py --seed N           one of them, with the pipeline and every turn of its schedule
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from random_graphs import Ledger, Program, draw_program, run

from sage.core.engine.coordinator import Coordinator
from sage.core.testing._backend import SimulatedBackend
from sage.core.testing._choices import Choices

__all__ = ["main", "program_of", "simulate_seed"]

_T = TypeVar("_T")
_VALUES: tuple[Any, ...] = (None, *range(-3, 10), "", "a", "word", True, False)
_MOST = 150
"""Records that a stream may hold: what is found with many records is found sooner with many seeds."""


_TURNS = 100_000
"""More than any of these pipelines takes, if it ends."""


_SHOWN = 2000
"""Characters of an error."""


class Seeded:
    """Randomness from one seed; another sequence than that of the schedule."""

    def __init__(self, seed: int) -> None:
        self.choices = Choices(seed + (1 << 32))

    def integer(self, low: int, high: int) -> int:
        return low + self.choices.below(high - low + 1)

    def choose(self, options: Sequence[_T]) -> _T:
        return self.choices.one_of(options)

    def value(self) -> Any:
        return self.choices.one_of(_VALUES)


def program_of(seed: int) -> Program:
    """The pipeline of a seed; in some of them a function fails the job."""
    draw = Seeded(seed)
    return draw_program(draw, most=_MOST, bomb=draw.choices.chance(0.1))


def simulate_seed(seed: int, tell: Callable[[str], None] | None = None) -> str:
    """Run the pipeline of a seed under its schedule, in some of them with a cancel, and check what it gives.

    Returns:
        the state that the job has ended in.

    Raises:
        AssertionError: something is wrong.
    """
    backend = SimulatedBackend(seed, cancel=Choices(seed + (1 << 33)).chance(0.1), turns=_TURNS, tell=tell)

    def prepare(job: Coordinator, ledger: Ledger) -> None:
        assert backend.deployment is not None
        backend.stop = job.cancel
        ledger.meanwhile = backend.deployment.interfere

    return run(program_of(seed), backend, prepare)


def _attempt(seed: int) -> tuple[int, str, str]:
    logging.disable()  # what fails while a job is cancelled is logged, and is no news here
    try:
        return seed, simulate_seed(seed), ""
    except Exception as error:
        return seed, "wrong", "".join(traceback.format_exception_only(error))[:_SHOWN]


def _sweep(seeds: range) -> Iterator[tuple[int, str, str]]:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap(_attempt, seeds, chunksize=20)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Random pipelines under random schedules.")
    parser.add_argument("count", nargs="?", type=int, default=1000, help="how many seeds")
    parser.add_argument("first", nargs="?", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one, and show it")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        print(program_of(options.seed))
        print(simulate_seed(options.seed, print))
        return 0
    states: dict[str, int] = {}
    for seed, state, why in _sweep(range(options.first, options.first + options.count)):
        states[state] = states.get(state, 0) + 1
        if why:
            print(f"seed {seed}: {why}\n  replay it: python3 dev.py simulate -- --seed {seed}", flush=True)
    print(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    return 1 if "wrong" in states else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
