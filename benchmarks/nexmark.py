"""NEXMARK's queries on SAGE beside the direct computation, and beside peers where they are installed.

Each query is a child process of each peer's own Python, one after the other, over the same events from memory, with
one subtask of each step and results dropped. A process checks its results first, over other events than those it is
measured with. Events a second leave out what starting takes, which is told apart: the time of a run over a few events.

    python benchmarks/nexmark.py [bytewax=PYTHON] [flink=PYTHON] [q0 q1 …]
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _peers import chosen, run

EXAMPLE = Path(__file__).parents[1] / "examples" / "nexmark"
QUERIES = {
    "q0": "pass through",
    "q1": "currency",
    "q2": "selection",
    "q3": "local items",
    "q4": "category price",
    "q5": "hot items",
    "q6": "seller price",
    "q7": "highest bid",
    "q8": "new users",
    "q11": "user sessions",
}


def figures(found: Mapping[str, Any]) -> tuple[float, float, float]:
    """Events a second, how many times as long as the direct computation it takes, and seconds that starting takes."""
    start = statistics.median(found["start"])
    net = [max(run - start, 1e-9) for run in found["run"]]
    ratio = statistics.median(run / direct for run, direct in zip(net, found["direct"], strict=True))
    return found["events"] / statistics.median(net), ratio, start


def main(arguments: list[str]) -> None:
    pythons, queries = chosen(arguments, QUERIES)
    data: list[dict[str, Any]] = []
    print("\nNEXMARK: events a second; time over the direct computation's; seconds to start")
    print(f"  {'':20}{'direct':>14}" + "".join(f"{peer:>34}" for peer in pythons))
    for query in queries:
        row = ""
        direct: list[float] = []
        for peer, python in pythons.items():
            found = run("nexmark_on", peer, python, query, [EXAMPLE])
            if found is None or "run" not in found:  # it may have no such query
                row += f"{'-':>34}"
                continue
            speed, ratio, start = figures(found)
            direct += [found["events"] / seconds for seconds in found["direct"]]
            row += f"{speed:>16,.0f} {ratio:>8.1f} {start:>8.3f}"
            told = {"events_per_second": speed, "ratio": ratio, "seconds_to_start": start}
            data.append({"query": query, "peer": peer, **told, **found})
        middle = f"{statistics.median(direct):,.0f}" if direct else "-"
        print(f"  {query + ' ' + QUERIES[query]:20}{middle:>14}{row}", flush=True)
    print(json.dumps({"benchmark": "nexmark", "python": platform.python_version(), "figures": data}))


if __name__ == "__main__":
    main(sys.argv[1:])
