"""What a request, a connection and the queue may take: every number that bounds the daemon, on one page."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds.

    Attributes:
        package_bytes: body of a submission.
        json_bytes: any other body.
        header_bytes, header_lines: of one request, the request line included.
        header_timeout: until a request's headers are complete.
        body_timeout: until a body is complete, longer by what ``body_rate`` (bytes a second) allows it.
        idle_timeout: between two requests of one connection.
        write_timeout: until a reader that stopped reading is cut off.
        linger: how long the rest of a refused body is read away, so that the answer is not lost.
        connections: above it idle connections that have shown no token are closed, and if there are none, requests are
            answered 503; above twice as many, connections are closed unanswered.
        readers: long polls and event streams at once.
        queue: jobs that wait for their start.
        long_poll: the longest wait of one request.
        shutdown: until a graceful stop no longer waits for open requests.
    """

    package_bytes: int = 64 * 1024 * 1024
    json_bytes: int = 1024 * 1024
    header_bytes: int = 16 * 1024
    header_lines: int = 100
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    body_rate: int = 64 * 1024
    idle_timeout: float = 30.0
    write_timeout: float = 30.0
    linger: float = 2.0
    connections: int = 256
    readers: int = 192
    queue: int = 10_000
    long_poll: float = 60.0
    shutdown: float = 5.0
