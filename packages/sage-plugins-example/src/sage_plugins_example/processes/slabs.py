"""Memory that two processes share: what is large is written into it once, and read where it is.

A slab is a piece of memory without a name (`os.memfd_create`): it is gone with the last process that has it, however
that ends. Its file descriptor travels once, the first time that it is used; then its number is enough. It is free again
as soon as nothing in the receiving process uses what is in it, an array for instance.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["LARGE", "Slab", "SlabPool", "SlabsInUse"]

LARGE = 1 << 16
"""Bytes from which on it is worth it."""


class Slab:
    """A slab, as the process sees it that writes to it.

    Attributes:
        number: from 1.
        size: in bytes, a power of two.
        memory: what it holds.
        descriptor: of its memory, for whoever sends it, and closes it then; None once it was given away.
    """

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.descriptor: int | None = os.memfd_create(f"sage-{number}", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, size)
        self.memory = mmap.mmap(self.descriptor, size)


class SlabPool:
    """The slabs that one process writes to for another. For one thread at a time.

    Args:
        limit: bytes that all of them may have; 0 for none.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit if hasattr(os, "memfd_create") else 0
        self._slabs: dict[int, Slab] = {}
        self._free: dict[int, list[Slab]] = {}  # by size; the one used last is the first to be used again

    def take(self, size: int) -> Slab | None:
        """A slab that ``size`` bytes fit into, or None if there is no room."""
        size = 1 << (max(size, LARGE) - 1).bit_length()
        free = self._free.setdefault(size, [])
        if free:
            return free.pop()
        if size > self._left:
            return None
        try:
            slab = Slab(len(self._slabs) + 1, size)
        except OSError:  # too many open files, no memory left to map: there is another way
            return None
        self._slabs[slab.number] = slab
        self._left -= size
        return slab

    def free(self, number: int) -> None:
        """Nothing in the other process uses that slab any more."""
        slab = self._slabs.get(number)
        if slab is not None:
            self._free[slab.size].append(slab)

    def close(self) -> None:
        """Let go of all of them; who still uses one keeps it."""
        for slab in self._slabs.values():
            slab.memory.close()
            if slab.descriptor is not None:
                os.close(slab.descriptor)
        self._slabs.clear()


class SlabsInUse:
    """The slabs that another process writes to for this one.

    Attributes:
        released: numbers of those that nothing uses any more. Filled wherever an object happens to go, so that to note
            it is all that may be done there.
    """

    def __init__(self) -> None:
        self._memories: dict[int, mmap.mmap] = {}
        self._uses: dict[int, Any] = {}
        self.released: deque[int] = deque()  # no more than there are slabs

    def view(self, number: int, size: int, descriptor: Callable[[], int]) -> memoryview:
        """What is in a slab, for as long as anybody uses it.

        Args:
            number: of the slab.
            size: how much of it.
            descriptor: gives the descriptor that came along with it; called the first time only.
        """
        import ctypes  # only where it is needed: of what shares memory, the one that tells of its end

        memory = self._memories.get(number)
        if memory is None:
            received = descriptor()
            try:
                memory = self._memories[number] = mmap.mmap(received, 0)
            finally:
                os.close(received)
        use = (ctypes.c_char * size).from_buffer(memory)
        self._uses[number] = weakref.ref(use, partial(self._release, number))
        return memoryview(use).cast("B")

    def _release(self, number: int, _: object) -> None:
        self.released.append(number)
