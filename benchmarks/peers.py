"""SAGE beside its peers: the works of `peer_programs/work.py`, each beside plain Python in the same process.

Peers' requirements exclude each other, so each has a virtual environment of its own, which the nox session
`bench_peers` makes. For each work a peer is a child process: importing and starting Python are not counted, building
and running the flow are. Everything stays on this machine.

    python benchmarks/peers.py bytewax=PYTHON streamz=PYTHON pathway=PYTHON beam=PYTHON [W1 W2 …]
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
from typing import Any

from _peers import chosen, run

WORKS = {
    "W1": "stateless chain, 1,000,000 integers: time over a plain loop's",
    "W2": "running count of 1,000,000 words over 10,000 keys: time over a plain loop's",
    "W3": "2,000 waits of 5 ms, 32 at a time: time over asyncio by hand",
    "W5": "2,000 NumPy arrays of 1 MiB through 3 maps in place: time over a plain loop's",
    "W6": "latency at 1,000 records/s over 3 maps: median / 99th percentile in µs",
}


def show(work: str, figures: list[Any]) -> str:
    if work == "W6":
        middle, high = (statistics.median(column) for column in zip(*figures, strict=True))
        return f"{middle:.0f} / {high:.0f}"
    return f"{statistics.median(figures):.3g}"


def main(arguments: list[str]) -> None:
    pythons, works = chosen(arguments, WORKS)
    if len(pythons) == 1:
        print("peers: none is installed here; the session bench_peers installs them and runs this")
        return
    rows: dict[str, dict[str, str]] = {"plain Python": {}}
    data: list[dict[str, Any]] = []
    for work in works:
        plain: list[Any] = []
        for peer, python in pythons.items():
            answer = run("on", peer, python, work)
            for way, figures in answer["ways"].items() if answer else ():
                row = rows.setdefault(way, {})
                row["version"] = answer["version"] if answer else ""
                if work == "W1":
                    row["MiB"] = f"{answer['peak']:.0f}" if answer else ""
                plain += figures["plain"]
                if work == "W6":
                    row[work] = show(work, figures["peer"])
                else:
                    row[work] = show(work, [a / b for a, b in zip(figures["peer"], figures["plain"], strict=True)])
                data.append({"work": work, "way": way, "version": row["version"], "figure": row[work], **figures})
        if plain:
            rows["plain Python"][work] = show(work, plain) if work == "W6" else f"1 ({statistics.median(plain):.2f} s)"
    rows["plain Python"]["version"] = platform.python_version()
    print("\nSAGE and peers; smaller is better")
    columns = ["version", *works, "MiB"]
    print(f"  {'':24}" + "".join(f"{column:>13}" for column in columns))
    for way, row in rows.items():
        print(f"  {way:24}" + "".join(f"{row.get(column, '-'):>13}" for column in columns))
    for work in works:
        print(f"  {work}: {WORKS[work]}")
    print("  MiB: peak memory of W1's process, several runs of the work and of the plain loop")
    print(json.dumps({"benchmark": "peers", "python": platform.python_version(), "figures": data}))


if __name__ == "__main__":
    main(sys.argv[1:])
