"""Count the words in the standard library of Python: every ``.py`` file, several megabytes.

    python examples/word_count/word_count.py                  # here, on threads
    python examples/word_count/word_count.py --remote         # the same pipeline on a JobManager

All counts go to a file (``word``, tab, ``count``; the most frequent first), the top words are printed. Both happen
where the job runs, so a remote job's output path is a path of the JobManager's machine, and what it prints is read
with ``sage job logs``.
"""

from __future__ import annotations

import argparse
import re
import sysconfig
from pathlib import Path
from typing import Any

from sage.core.api import (
    BatchFunction,
    FlatMapFunction,
    LocalEnvironment,
    ReduceFunction,
    RemoteEnvironment,
    SinkFunction,
)

WORD = re.compile(r"\w+")


class PythonFiles(BatchFunction):
    """Give the path of every ``.py`` file under a folder, installed packages left out."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.next = 0

    def open(self, context: Any) -> None:
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*.py"))
        self.files = sorted(path for path in paths if not {"site-packages", "dist-packages"} & set(path.parts))

    def execute(self) -> str | None:
        if self.next == len(self.files):
            return None
        self.next += 1
        return str(self.folder / self.files[self.next - 1])


class Words(FlatMapFunction):
    """Give the words of a file, in lower case. Some files test wrong encodings; what cannot be read is replaced."""

    def execute(self, path: str) -> list[str]:
        return WORD.findall(Path(path).read_text(encoding="utf-8", errors="replace").lower())


class Add(ReduceFunction):
    """Add the counts of one word."""

    def execute(self, total: tuple[str, int], value: tuple[str, int]) -> tuple[str, int]:
        return total[0], total[1] + value[1]


class Gather(ReduceFunction):
    """Gather all counts in one list."""

    def execute(self, gathered: list[tuple[str, int]], value: list[tuple[str, int]]) -> list[tuple[str, int]]:
        gathered += value
        return gathered


class Report(SinkFunction):
    """Write all counts to a file and print the top ones."""

    def __init__(self, output: str, top: int) -> None:
        self.output = output
        self.top = top

    def execute(self, counts: list[tuple[str, int]]) -> None:
        counts = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
        Path(self.output).write_text("".join(f"{word}\t{count}\n" for word, count in counts), encoding="utf-8")
        for word, count in counts[: self.top]:
            print(f"{count:>9,}  {word}")
        print(f"{len(counts):,} different words are in {self.output}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the words in Python's standard library.")
    parser.add_argument("--remote", action="store_true", help="run on the JobManager instead of here")
    parser.add_argument("--host", help="where the JobManager listens (default: from the configuration)")
    parser.add_argument("--port", type=int, help="its port (default: from the configuration)")
    parser.add_argument("--folder", default=sysconfig.get_path("stdlib"), help="count here (default: %(default)s)")
    parser.add_argument("--output", default="word_count.tsv", help="file for all counts (default: %(default)s)")
    parser.add_argument("--top", type=int, default=10, help="how many words to print (default: %(default)s)")
    parser.add_argument("--parallelism", type=int, default=2, help="subtasks that count (default: %(default)s)")
    options = parser.parse_args()

    env: LocalEnvironment | RemoteEnvironment
    if options.remote:
        env = RemoteEnvironment("word_count", host=options.host, port=options.port)
    else:
        env = LocalEnvironment("word_count")
    with env:
        words = env.from_batch(PythonFiles, options.folder).flatmap(Words)
        counts = (
            words.map(lambda word: (word, 1), name="one")
            .keyby(lambda pair: pair[0], name="by word")
            .reduce(Add, final=True, parallelism=options.parallelism)
        )
        everything = counts.map(lambda pair: [pair], name="list").reduce(Gather, final=True)
        everything.sink(Report, str(Path(options.output).absolute()), options.top)
        env.submit(autostop=True)
        print("status:", env.get_job_status().get("status"))


if __name__ == "__main__":
    main()
