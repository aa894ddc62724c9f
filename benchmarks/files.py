"""Reading 500,000 lines of text, JSON and CSV, and writing them, against plain loops over the same files."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _measure import in_turn, report

from sage.core.api import DataStream, LocalEnvironment, SinkFunction

RECORDS = 500_000


class Count(SinkFunction):
    """Counts on the class, so that both ways of running can be compared."""

    count = 0

    def execute(self, record: Any) -> None:
        Count.count += 1


def plain_text(path: Path) -> None:
    take = Count().execute
    with path.open(encoding="utf-8") as file:
        for line in file:
            take(line.rstrip("\n"))


def plain_jsonl(path: Path) -> None:
    take = Count().execute
    with path.open(encoding="utf-8") as file:
        for line in file:
            take(json.loads(line))


def plain_csv(path: Path) -> None:
    take = Count().execute
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            take(row)


def on_sage(read: Callable[[LocalEnvironment], DataStream[Any]]) -> None:
    env = LocalEnvironment("files", backend="local")
    read(env).sink(Count)
    env.submit(autostop=True)


def rows() -> list[dict[str, Any]]:
    return [{"id": number, "name": f"name {number % 1000}", "price": number / 7} for number in range(RECORDS)]


def write_plainly(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n")


def write_csv_plainly(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        for record in records:
            writer.writerow(record)


def write_on_sage(write: Callable[[DataStream[Any]], object], records: list[dict[str, Any]]) -> None:
    env = LocalEnvironment("files", backend="local")
    write(env.from_batch(lambda: records))
    env.submit(autostop=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, jsonl, table = folder / "in.txt", folder / "in.jsonl", folder / "in.csv"
        text.write_text("".join(f"line {number} of a file of text that is not short\n" for number in range(RECORDS)))
        records = rows()
        write_plainly(jsonl, records)
        write_csv_plainly(table, records)
        work: dict[str, Callable[[], object]] = {
            "read text, plain loop": lambda: plain_text(text),
            "read text, sage": lambda: on_sage(lambda env: env.from_text(text)),
            "read JSON Lines, plain loop": lambda: plain_jsonl(jsonl),
            "read JSON Lines, sage": lambda: on_sage(lambda env: env.from_jsonl(jsonl)),
            "read CSV, plain loop": lambda: plain_csv(table),
            "read CSV, sage": lambda: on_sage(lambda env: env.from_csv(table)),
            "write JSON Lines, plain loop": lambda: write_plainly(folder / "plain.jsonl", records),
            "write JSON Lines, sage": lambda: write_on_sage(
                lambda stream: stream.to_jsonl(folder / "sage.jsonl", overwrite=True), records
            ),
            "write CSV, plain loop": lambda: write_csv_plainly(folder / "plain.csv", records),
            "write CSV, sage": lambda: write_on_sage(
                lambda stream: stream.to_csv(folder / "sage.csv", overwrite=True), records
            ),
        }
        for run in list(work.values())[:6]:
            Count.count = 0
            run()
            assert Count.count == RECORDS, "all ways must read everything"
        measured = in_turn(work, rounds=5, warmup=0)
        ratios = [
            (f"{what}, sage", f"{what}, plain loop", f"{what}: time of sage over that of the loop")
            for what in ("read text", "read JSON Lines", "read CSV", "write JSON Lines", "write CSV")
        ]
        report(f"files, {RECORDS:,} records", measured, ratios)


if __name__ == "__main__":
    main()
