"""What the job's process and a worker say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sage.core.backends.api import Attempt
from sage_plugins_example.processes.placement import Places

__all__ = ["CANCEL", "COMMAND", "DONE", "EVENT", "FAILED", "LOG", "PING", "PONG", "SETUP", "Setup"]

SETUP, COMMAND, CANCEL, PING = 1, 2, 3, 4
"""To a worker: what to run; a command for a task; end all of them; say that you are there."""

EVENT, FAILED, LOG, PONG, DONE = 5, 6, 7, 8, 9
"""To the job's process: of a task; nothing could be started; a log record; here I am; all tasks have ended."""


@dataclass(frozen=True)
class Setup:
    """What a worker is told at first.

    Attributes:
        number: its own.
        attempt: which deployment, and where its package is.
        places: where all tasks run.
        peers: by number, the workers that there are channels to or from, each with the descriptor of a socket.
        shared_memory: bytes that two workers may share.
        levels: of loggers, by name.
    """

    number: int
    attempt: Attempt
    places: Places
    peers: Mapping[int, int]
    shared_memory: int
    levels: Mapping[str, int]
