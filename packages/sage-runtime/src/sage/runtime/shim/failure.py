"""Why a job failed, as its process tells it or as it is seen from outside."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["clean_failure", "describe_end", "last_words"]

_TEXTS = ("operator", "uid", "location", "record", "error_type", "traceback", "signal")
_NUMBERS = ("subtask", "exit_status")
_KINDS = ("user_code", "process", "load", "backend", "internal")
_LONGEST = 1 << 13
_LARGEST = 1 << 31
_LONGEST_TRACEBACK = 1 << 16
_LINES = 40
_LINES_BEFORE_A_CRASH = 10


def clean_failure(told: object) -> dict[str, Any]:
    """The failure that a job process told (a `sage.core.models.FailureInfo` as JSON), made safe to pass on.

    The job may be faulty or worse: kept are the known fields, if of the right type, as encodable text of bounded
    length.
    """
    if not isinstance(told, dict):
        told = {}
    kind, message = told.get("kind"), told.get("message")
    failure: dict[str, Any] = {
        "kind": kind if kind in _KINDS else "internal",
        "message": _text(message, _LONGEST) if isinstance(message, str) else "it did not say why",
    }
    for name in _TEXTS:
        if isinstance(told.get(name), str):
            failure[name] = _text(told[name], _LONGEST_TRACEBACK if name == "traceback" else _LONGEST)
    for name in _NUMBERS:
        if type(told.get(name)) is int and abs(told[name]) < _LARGEST:
            failure[name] = told[name]
    return failure


def last_words(output: str) -> str | None:
    """What a process that ended untold has printed last: where it crashed, if Python has said so, else its last lines.

    Python tells the frames of all threads; those of the one that crashed may stand anywhere among them.
    """
    lines = output.splitlines()
    words = lines[-_LINES:]
    crashes = [number for number, line in enumerate(lines) if line.startswith("Fatal Python error")]
    if crashes:
        crash = crashes[-1]
        frames = [number for number in range(crash, len(lines)) if lines[number].startswith("Current thread ")]
        begin = frames[0] if frames else crash + 1
        words = [*lines[max(crash - _LINES_BEFORE_A_CRASH, 0) : crash + 1], *lines[begin:]][:_LINES]
    return "\n".join(words) or None


def _text(text: str, longest: int) -> str:
    if len(text) > longest:
        # A traceback tells the most at its ends.
        half = longest // 2
        text = f"{text[:half]}\n[… {len(text) - longest} characters left out …]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def describe_end(status: int, *, killed: bool) -> tuple[str, int | None, str | None]:
    """How a process ended, from the ``status`` of `os.waitid` and whether a signal did it: words for people, the exit
    status, and the signal's name."""
    if not killed:
        return f"ended with exit status {status}", status, None
    try:
        name = signal.Signals(status).name
    except ValueError:
        name = f"signal {status}"
    words = "out of memory, or somebody killed it" if status == signal.SIGKILL else signal.strsignal(status)
    return f"was killed by {name}" + (f" ({words})" if words else ""), None, name
