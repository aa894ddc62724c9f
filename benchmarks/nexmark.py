"""NEXMARK's queries on SAGE beside the direct computation, and beside peers where they are installed.

Each query is a child process of each peer's own Python, one after the other, over the same events from memory, with
one subtask of each step and results dropped. A process checks its results first, over other events than those it is
measured with. Events a second leave out what starting takes, which is told apart: the time of a run over a few events.

    python benchmarks/nexmark.py [bytewax=PYTHON] [flink=PYTHON] [q0 q1 …]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).with_name("peer_programs")
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
TIMEOUT = 600.0


def run(peer: str, python: str, query: str) -> Mapping[str, Any] | None:
    """What a peer's program measured; None, and the reason printed, if it failed or has no such query."""
    path = os.pathsep.join(filter(None, [str(EXAMPLE), os.environ.get("PYTHONPATH") if peer == "sage" else None]))
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    command = [python, str(PROGRAMS / f"nexmark_on_{peer}.py"), query]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    except subprocess.TimeoutExpired:
        print(f"  {peer} {query}: not done after {TIMEOUT:.0f} s")
        return None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"  {peer} {query}: {reason:.200}")
        return None
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found if "run" in found else None


def figures(found: Mapping[str, Any]) -> tuple[float, float, float]:
    """Events a second, how many times as long as the direct computation it takes, and seconds that starting takes."""
    start = statistics.median(found["start"])
    net = [max(run - start, 1e-9) for run in found["run"]]
    ratio = statistics.median(run / direct for run, direct in zip(net, found["direct"], strict=True))
    return found["events"] / statistics.median(net), ratio, start


def main(arguments: list[str]) -> None:
    pythons = {"sage": sys.executable, **dict(item.split("=", 1) for item in arguments if "=" in item)}
    queries = [item for item in arguments if item in QUERIES] or list(QUERIES)
    data: list[dict[str, Any]] = []
    print("\nNEXMARK: events a second; time over the direct computation's; seconds to start")
    print(f"  {'':20}{'direct':>14}" + "".join(f"{peer:>34}" for peer in pythons))
    for query in queries:
        row = ""
        direct: list[float] = []
        for peer, python in pythons.items():
            found = run(peer, python, query)
            if found is None:
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
