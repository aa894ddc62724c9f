"""How fast things start: `import sage.core.api`, `sage --help`, `sage job list`, against the least they could cost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _measure import in_turn, report
from submit_to_completed import jobmanager, number_example

EMPTY_APP = """
import typer
app = typer.Typer()

@app.command()
def main() -> None:
    pass

app()
"""


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    sage = str(Path(sys.executable).with_name("sage"))
    with tempfile.TemporaryDirectory(prefix="sage-bench-") as folder, jobmanager():
        number_example()
        empty = Path(folder, "empty.py")
        empty.write_text(EMPTY_APP)
        measured = in_turn(
            {
                "python -c pass": command(sys.executable, "-c", "pass"),
                "python -c 'import sage.core.api'": command(sys.executable, "-c", "import sage.core.api"),
                "empty Typer app": command(sys.executable, str(empty)),
                "empty Typer app --help": command(sys.executable, str(empty), "--help"),
                "sage --help": command(sage, "--help"),
                "sage version": command(sage, "version"),
                "sage job list": command(sage, "job", "list"),
            },
            rounds=11,
        )
    extra = [
        a - b for a, b in zip(measured["python -c 'import sage.core.api'"], measured["python -c pass"], strict=True)
    ]
    report(
        "start times",
        {**measured, "import sage.core.api above bare Python": extra},
        [
            ("sage --help", "empty Typer app --help", "sage --help against an empty --help"),
            ("sage version", "empty Typer app", "sage version against an empty app"),
            ("sage job list", "empty Typer app", "sage job list against an empty app"),
        ],
    )


if __name__ == "__main__":
    main()
