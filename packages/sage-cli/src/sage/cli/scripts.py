"""Runs a user's script in a child, as ``python SCRIPT`` would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sage.cli.failures import misuse

__all__ = ["check_script", "run_script"]


def check_script(script: str) -> None:
    """Refuse a script that is not there.

    Raises:
        CommandError: it is not.
    """
    if not Path(script).exists():
        misuse(f"there is no file {script}")


def run_script(script: str, args: Sequence[str], variables: Mapping[str, str], *, stdout: IO[Any] | None = None) -> int:
    """Run the script with this Python, this working folder, and `variables` added to the environment.

    Returns:
        its exit status as a shell gives it: 128 + n if signal n ended it.
    """
    # A name that begins with a dash would be read as an option of Python.
    target = f"./{script}" if script.startswith("-") else script
    sys.stdout.flush()
    command = [sys.executable, target, *args]
    process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=stdout)  # noqa: S603 - the user's own
    with process, _signals_are_the_childs(process):
        status = process.wait()
    return 128 - status if status < 0 else status


@contextmanager
def _signals_are_the_childs(process: subprocess.Popen[Any]) -> Iterator[None]:
    """While the child runs, Ctrl-C is its affair (the terminal sends it to both), and SIGTERM is passed on.

    A handler that does nothing, since the child would inherit SIG_IGN and could not be interrupted at all.
    """

    def nothing(signum: int, frame: object) -> None:
        """The child got the signal too."""

    def pass_on(signum: int, frame: object) -> None:
        process.send_signal(signum)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, nothing),
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
