"""Run a query of NEXMARK over generated events and print what it puts out.

python examples/nexmark/run.py q5
python examples/nexmark/run.py q5 --events 100000 --rate 1000 --out-of-order 2 --parallelism 4 --check
"""

from __future__ import annotations

import argparse

from direct import DIRECT
from generator import MAX_DELAY, generate
from queries import PIPELINES

from sage.core.api import LocalEnvironment


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a query of NEXMARK over generated events.")
    parser.add_argument("query", nargs="?", default="q5", choices=PIPELINES, help="which (default: %(default)s)")
    parser.add_argument("--events", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other events (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100, help="events a second of event time (default: %(default)s)")
    parser.add_argument(
        "--out-of-order", type=float, default=0, help=f"seconds by which events come late, up to {MAX_DELAY:g}"
    )
    parser.add_argument("--parallelism", type=int, default=1, help="subtasks of each step (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare with the direct computation, print no results")
    options = parser.parse_args()

    events = list(generate(options.events, options.seed, options.rate, options.out_of_order))
    env = LocalEnvironment(options.query)
    stream = PIPELINES[options.query](env, events, options.parallelism)
    if not options.check:
        stream.print()
        env.submit(autostop=True)
        return
    results = stream.collect()
    env.submit(autostop=True)
    same = sorted(results, key=repr) == sorted(DIRECT[options.query](events), key=repr)
    print(
        f"{options.query}: {len(results):,} results, {'as computed directly' if same else 'NOT as computed directly'}"
    )
    raise SystemExit(not same)


if __name__ == "__main__":
    main()
