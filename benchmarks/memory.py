"""Peak memory of 10 million records beside that of 100,000: it must not depend on how many have passed.

Source → map → filter → keyby → reduce → sink on the backend `local`, on one task and with two keyed ones, beside a
plain loop that does the same. Each run is a process of its own, which tells the most it ever held in RAM (VmHWM).
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

MANY, FEW = 10_000_000, 100_000
KEYS = 1_000
ROUNDS = 3
WAYS = ("plain loop", "sage, one task", "sage, 2 keyed tasks")


def double(number: int) -> int:
    return number * 2


def keep(number: int) -> bool:
    return number % 3 != 0


def key_of(number: int) -> int:
    return number % KEYS


def largest(a: int, b: int) -> int:
    return a if a > b else b


def nothing(number: int) -> None:
    pass


def plain_loop(records: int) -> None:
    values: dict[int, int] = {}
    for number in range(records):
        value = double(number)
        if keep(value):
            key = key_of(value)
            value = values[key] = largest(values[key], value) if key in values else value
            nothing(value)


def on_sage(records: int, tasks: int) -> None:
    from sage.core.api import LocalEnvironment  # what the plain loop does not pay for

    env = LocalEnvironment("memory")
    numbers = env.from_batch(range(records))
    reduced = numbers.map(double).filter(keep).keyby(key_of).reduce(largest, parallelism=tasks)
    reduced.sink(nothing, parallelism=tasks)
    env.submit(autostop=True)


def run(way: str, records: int) -> None:
    """In the process that is measured."""
    if way == "plain loop":
        plain_loop(records)
    else:
        on_sage(records, tasks=1 if way == "sage, one task" else 2)
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def peak(way: str, records: int) -> float:
    """MiB."""
    done = subprocess.run([sys.executable, __file__, way, str(records)], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def main() -> None:
    rounds = [{way: (peak(way, FEW), peak(way, MANY)) for way in WAYS} for _ in range(ROUNDS)]
    print(f"\npeak memory of {MANY:,} records against {FEW:,}, medians of {ROUNDS}, in MiB")
    print(f"  {'':44} {FEW:>12,} {MANY:>12,} {'difference':>12}")
    found = {}
    for way in WAYS:
        few, many = (statistics.median(one[way][side] for one in rounds) for side in (0, 1))
        difference = statistics.median(one[way][1] - one[way][0] for one in rounds)
        found[way] = {"few": round(few, 1), "many": round(many, 1), "difference": round(difference, 2)}
        print(f"  {way:44} {few:12.1f} {many:12.1f} {difference:12.2f}")
    print(json.dumps({"benchmark": "peak memory", "python": platform.python_version(), "mebibytes": found}))


if __name__ == "__main__":
    if sys.argv[1:]:
        run(sys.argv[1], int(sys.argv[2]))
    else:
        main()
