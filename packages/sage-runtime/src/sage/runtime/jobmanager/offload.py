"""Blocking work away from the event loop, on a bounded number of named threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Offload"]

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """Threads for three kinds of blocking work, apart, so that one kind never waits for another.

    Attributes:
        files: small reads and writes in jobs' folders.
        bodies: receiving and checking packages.
        starts: starting shims and ending what is left of jobs.
    """

    def __init__(self) -> None:
        self.files = ThreadPoolExecutor(8, thread_name_prefix="files")
        self.bodies = ThreadPoolExecutor(4, thread_name_prefix="bodies")
        self.starts = ThreadPoolExecutor(8, thread_name_prefix="starts")

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run small file work."""
        return await _run(self.files, work, *args, **kwargs)

    async def receive(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on a package that comes in."""
        return await _run(self.bodies, work, *args, **kwargs)

    async def launch(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that starts or ends processes."""
        return await _run(self.starts, work, *args, **kwargs)

    def close(self) -> None:
        """Let what runs finish (each piece is bounded), take nothing new."""
        for pool in (self.bodies, self.starts, self.files):
            pool.shutdown(wait=True, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.wrap_future(pool.submit(work, *args, **kwargs))
