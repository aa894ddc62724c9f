"""A line between two processes: frames that any thread sends without ever waiting, and one thread receives.

A frame is a head, a table of its parts, and the parts themselves. A large part is in a slab that both processes share,
where there is room for it: then only its place is told.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, NoReturn

from sage_plugins_example.processes.loop import Loop
from sage_plugins_example.processes.slabs import LARGE, SlabPool, SlabsInUse

__all__ = ["Frame", "Line"]

Frame = Callable[[int, int, int, list[Any]], None]
"""``frame(kind, number, count, parts)``: what a frame says depends on its kind, which is above 0."""

_HEAD = struct.Struct("<BxxxIII")
"""Kind, number, count, and how many parts there are."""

_PART = struct.Struct("<QI")
"""Size in bytes, and the slab that the part is in; 0 if it follows."""

_FREE = 0
"""The kind of a frame that gives a slab back."""

_CHUNK = 1 << 18
_PIECES = 256  # in one call; the system takes 1,024 at most
_DESCRIPTORS = 64  # in one frame; the system takes 253 at most


class Line:
    """One end of a socket pair.

    Args:
        end: the socket.
        loop: of this process.
        frame: called with each frame that comes, on the loop's thread.
        gone: called there, once, when nobody is at the other end any more.
        shared: bytes that may be shared for what is large.

    Attributes:
        is_broken: whether nobody is there any more: what is posted is dropped.
        waiting: bytes that were posted and not sent yet.
        is_forked: whether this is a copy that a fork has made: what is said here would be said in another's name.
        drained: called on the loop's thread when all has been sent after some had to wait.
    """

    def __init__(
        self, end: socket.socket, loop: Loop, frame: Frame, gone: Callable[[], None], *, shared: int = 0
    ) -> None:
        end.setblocking(False)
        end.set_inheritable(False)
        self.socket = end
        self.is_broken = False
        self.is_forked = False
        self.waiting = 0
        self.drained: Callable[[], None] = lambda: None
        self._loop = loop
        self._frame = frame
        self._gone = gone
        self._sending = threading.Condition()
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()  # bounded by those who look at `waiting`
        self._is_watched = False
        self._pool = SlabPool(shared)
        self._shared = SlabsInUse()
        self._buffer = memoryview(bytearray(_CHUNK))
        self._start = self._end = 0  # of what has come and was not looked at
        self._descriptors: deque[int] = deque()  # that came along, in order
        self._large: memoryview | None = None  # where what comes now goes right in
        self._filled = 0
        self._parser = self._parse()
        self._needed = next(self._parser)

    # Sending

    def post(self, kind: int, number: int = 0, count: int = 0, parts: Sequence[Any] = ()) -> None:
        """Send a frame. Never waits; any thread may call it."""
        if self.is_forked:
            _end_fork()
        with self._sending:
            if self.is_broken:
                return
            heads, descriptors, following = [], list[int](), list[Any]()
            while self._shared.released:
                heads.append(_HEAD.pack(_FREE, self._shared.released.popleft(), 0, 0))
            heads.append(_HEAD.pack(kind, number, count, len(parts)))
            for part in parts:
                size = len(part)
                slab = self._pool.take(size) if size >= LARGE and len(descriptors) < _DESCRIPTORS else None
                if slab is None:
                    following.append(part)
                else:
                    slab.memory[:size] = part
                    if slab.descriptor is not None:
                        descriptors.append(slab.descriptor)
                        slab.descriptor = None
                heads.append(_PART.pack(size, 0 if slab is None else slab.number))
            if sum(map(len, following)) < LARGE:
                heads += following
                following = []
            self._queue(b"".join(heads), descriptors)
            for part in following:
                self._queue(part, [])
            if not self._is_watched and not self._send():
                self._is_watched = True
                self._loop.watch(self)

    @property
    def is_sent_by_this_thread(self) -> bool:
        """Whether it is the loop's: then nothing is sent while it waits."""
        return self._loop.thread == threading.get_ident()

    def forked(self) -> None:
        """This process is a fork: let go of the socket, which is not its own; of locks, others may be the holders."""
        self.is_forked = True
        self.socket.close()

    def flush(self) -> bool:
        """Send more of what waits; on the loop's thread. Returns whether all is sent."""
        with self._sending:
            self._is_watched = not self._send()
            if self._is_watched:
                return False
            self._sending.notify_all()
        self.drained()
        return True

    def wait_for_room(self, most: int, timeout: float | None = None) -> bool:
        """Wait until at most so many bytes have to be sent, or nobody is there any more. Returns whether it is so."""
        with self._sending:
            return self._sending.wait_for(lambda: self.waiting <= most or self.is_broken, timeout)

    def _queue(self, piece: Any, descriptors: list[int]) -> None:
        self._outgoing.append((memoryview(piece), descriptors))
        self.waiting += len(piece)

    def _send(self) -> bool:
        """Send as much as there is room for. Returns whether that is all."""
        outgoing = self._outgoing
        while outgoing:
            pieces, descriptors = list[memoryview](), outgoing[0][1]
            for piece, along in outgoing:
                if (along and pieces) or len(pieces) == _PIECES:  # descriptors come with the first byte of a call
                    break
                pieces.append(piece)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                sent = self.socket.sendmsg(pieces, rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:  # nobody is there any more; the loop will see that, too
                self._give_up()
                return True
            for descriptor in descriptors:
                os.close(descriptor)
            self.waiting -= sent
            outgoing[0] = outgoing[0][0], []
            while outgoing and sent >= len(outgoing[0][0]):
                sent -= len(outgoing.popleft()[0])
            if sent:
                outgoing[0] = outgoing[0][0][sent:], []
        return True

    def _give_up(self) -> None:
        self.is_broken = True
        for _, descriptors in self._outgoing:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outgoing.clear()
        self.waiting = 0
        self._sending.notify_all()

    # Receiving

    def receive(self) -> bool:
        """Take in some of what has come; on the loop's thread. Returns False once nobody is there any more."""
        return self._read() != 0

    def drain(self) -> None:
        """Take in all that has come; on the loop's thread."""
        while self._read():
            pass

    def _read(self) -> int | None:
        """How many bytes have come; 0 if none ever will, None if none have."""
        target = self._buffer[self._end :] if self._large is None else self._large[self._filled :]
        try:
            count, along, flags, _ = self.socket.recvmsg_into([target], socket.CMSG_SPACE(4 * _DESCRIPTORS))
        except BlockingIOError:
            return None
        except OSError:
            return 0
        if flags & socket.MSG_CTRUNC:
            raise OSError(errno.EMFILE, "there is no room for descriptors of shared memory: too many open files")
        for _, _, data in along:
            self._descriptors.extend(array.array("i", data))
        if self._large is None:
            self._end += count
        else:
            self._filled += count
            if self._filled == len(self._large):
                whole, self._large = self._large, None
                self._needed = self._parser.send(whole)
        if self._large is None:
            self._look()
        return count

    def ended(self) -> None:
        """Nobody is there any more."""
        with self._sending:
            self._give_up()
        self._gone()

    def close(self) -> None:
        """Give all back; on the loop's thread, or when it has ended."""
        with self._sending:
            self._give_up()
            self._pool.close()
        self.socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _look(self) -> None:
        """Hand to the parser what it waits for, as far as it is there."""
        while True:
            available = self._end - self._start
            if self._needed <= available:
                start, self._start = self._start, self._start + self._needed
                self._needed = self._parser.send(bytearray(self._buffer[start : self._start]))
            elif self._needed > _CHUNK // 2:
                self._large, self._filled = memoryview(bytearray(self._needed)), available
                self._large[:available] = self._buffer[self._start : self._end]
                self._start = self._end = 0
                return
            else:
                self._buffer[:available] = self._buffer[self._start : self._end]
                self._start, self._end = 0, available
                return

    def _parse(self) -> Generator[int, Any, None]:
        """Yields how many bytes it needs next, and is sent them."""
        while True:
            kind, number, count, following = _HEAD.unpack((yield _HEAD.size))
            if kind == _FREE:
                with self._sending:
                    self._pool.free(number)
                continue
            parts: list[Any] = []
            table = list(_PART.iter_unpack((yield _PART.size * following))) if following else []
            for size, slab in table:
                if slab:
                    parts.append(self._shared.view(slab, size, self._descriptors.popleft))
                else:
                    parts.append((yield size))
            self._frame(kind, number, count, parts)
            parts.clear()  # what is in slabs is let go of by who has it now


def _end_fork() -> NoReturn:
    """User code has forked, and the copy has returned to where it was called from."""
    os.write(2, b"sage: a process that user code has forked went on as if it were a worker, and was ended\n")
    os._exit(70)
