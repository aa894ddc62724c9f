"""Clients of a shim's socket: well-behaved, slow, silent, many, and wrong."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from typing import Any

import pytest

from sage.runtime.shim.client import ShimClient, ShimUnreachableError
from sage.runtime.shim.processes import is_alive
from sage.runtime.shim.start import ShimStartError, start_shim

Make = Callable[..., Any]

OBEYS = "running(); hear(); ended('cancelled')"


def lines(connection: socket.socket) -> list[Any]:
    """All that comes until the other side closes."""
    with connection.makefile("rb") as file:
        return [json.loads(line) for line in file]


def test_ping(scripted: Make) -> None:
    """A shim tells who it is and how its job does."""
    job = scripted(OBEYS, attempt=3, epoch=4).start()
    job.wait_for("running")
    answer = job.ping()
    assert answer == {"ok": True, "pid": job.shim.pid, "attempt": 3, "epoch": 4, "state": "running", "pending": 0}


def test_two_subscribers(scripted: Make) -> None:
    """Each gets every event from where it asked, in order, and learns of the end."""
    job = scripted(OBEYS).start()
    job.wait_for("running")

    async def read(after: int, first: asyncio.Event) -> list[int]:
        seen = []
        async with aclosing(job.client.subscribe(after)) as events:
            async for event in events:
                seen.append(event["seq"])
                first.set()
        return seen

    async def both() -> tuple[list[int], list[int]]:
        first, second = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            one, two = group.create_task(read(0, first)), group.create_task(read(2, second))
            await first.wait()
            await second.wait()
            await job.client.cancel(30)
        return one.result(), two.result()

    assert asyncio.run(both()) == ([1, 2, 3, 4, 5, 6], [3, 4, 5, 6])
    assert job.wait_ended()["seq"] == 6


def test_a_subscriber_that_leaves(scripted: Make) -> None:
    """It is forgotten; the job goes on."""
    job = scripted(OBEYS).start()
    for _ in range(100):
        job.wait_for("starting")
    assert job.ping()["ok"] is True


def test_a_subscriber_that_does_not_read(scripted: Make) -> None:
    """It holds up neither the job nor other clients nor, for long, the shim's end."""
    text = "T" * 60_000
    job = scripted(
        f"""
        running()
        nudged()
        ended("failed", {{"kind": "user_code", "message": "boom", "traceback": "{text}"}})
        """
    ).start()
    job.wait_for("running")
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(job.connect())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.sendall(b'{"op": "subscribe", "after": 0}\n')
        reader = stack.enter_context(job.connect())
        reader.sendall(b'{"op": "subscribe", "after": 4}\n')
        job.nudge()
        assert [event.get("state") for event in lines(reader)] == ["failing", "failed", None]
        assert job.wait_ended()["state"] == "failed"


def test_a_slow_subscriber_gets_everything(scripted: Make) -> None:
    """Events that exceed every buffer arrive whole at one who begins to read late."""
    job = scripted(
        """
        running()
        nudged()
        failure = {name: "\\u20ac" * 60_000 for name in ("operator", "uid", "location", "record", "traceback")}
        ended("failed", {"kind": "user_code", "message": "boom", **failure})
        """
    ).start()
    job.wait_for("running")
    with job.connect() as connection:
        connection.sendall(b'{"op": "subscribe", "after": 0}\n')
        with job.connect() as other:
            # The shim's first word to another client shows that it has dealt with the subscription.
            other.sendall(b'{"op": "ping"}\n')
            assert json.loads(other.recv(4096))["ok"] is True
        job.nudge()
        told = lines(connection)
    assert [event.get("seq") for event in told] == [1, 2, 3, 4, 5, 6, None]
    assert told[-1] == {"end": True}


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"{}\n", "unknown op"),
        (b'{"op": "dance"}\n', "unknown op 'dance'"),
        (b"[]\n", "JSON object"),
        (b"\xff\n", ""),
        (b"[" * 10_000 + b"\n", ""),
        (b'{"op": "subscribe", "after": "x"}\n', "sequence number"),
        (b'{"op": "cancel", "reason": 7}\n', "reason"),
        (b"x" * 100_000, "too long"),
    ],
)
def test_bad_requests(scripted: Make, request_line: bytes, expected: str) -> None:
    """A request that cannot be served is answered with what is wrong, and nothing else happens."""
    job = scripted(OBEYS).start()
    with job.connect() as connection:
        connection.sendall(request_line)
        answer = json.loads(connection.makefile("rb").readline())
    assert expected in answer["error"]
    assert job.ping()["state"] in ("starting", "running")


def test_requests_one_after_the_other(scripted: Make) -> None:
    """One connection may carry several requests, also sent at once."""
    job = scripted(OBEYS).start()
    with job.connect() as connection:
        connection.sendall(b'{"op": "ping"}\n{"op": "dance"}\n{"op": "ping"}\n')
        with connection.makefile("rb") as file:
            answers = [json.loads(file.readline()) for _ in range(3)]
    assert [next(iter(answer)) for answer in answers] == ["ok", "error", "ok"]


def test_too_many_clients(scripted: Make) -> None:
    """Beyond the bound the next one is told so; when others leave there is room again."""
    job = scripted(OBEYS).start()
    with ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(job.connect())
        with pytest.raises(ShimUnreachableError, match="64 clients"):
            job.ping()
    # It may see the next one knock before it sees the others leave.
    while True:
        try:
            answer = job.ping()
            break
        except ShimUnreachableError:
            assert is_alive(job.shim)
    assert answer["ok"] is True


def test_a_stale_socket_is_replaced(scripted: Make) -> None:
    """What a killed shim has left behind is no obstacle."""
    job = scripted(OBEYS)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(job.socket))
    assert job.socket.exists()
    job.start()
    assert job.ping()["ok"] is True


def test_a_live_socket_is_not(scripted: Make) -> None:
    """Where somebody listens, a shim neither listens nor starts anything."""
    job = scripted(OBEYS)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(job.socket))
        other.listen()
        with pytest.raises(ShimStartError, match="in use"):
            start_shim(job.folder)
    assert job.states() == ["submitted", "queued"]


def test_no_shim_there(scripted: Make) -> None:
    """Asking where nobody listens is one clear error."""
    job = scripted(OBEYS)
    with pytest.raises(ShimUnreachableError, match="no shim listens"):
        job.ping()


def test_a_shim_that_goes_away(scripted: Make) -> None:
    """A stream that breaks off is an error, never an end."""
    job = scripted(OBEYS).start()

    async def read() -> None:
        async for event in job.client.subscribe():
            if event["state"] == "running":
                os.kill(job.shim.pid, 9)

    with pytest.raises(ShimUnreachableError, match="went away"):
        asyncio.run(read())


def test_a_shim_that_does_not_answer(short_folder: Any) -> None:
    """A request that is never answered ends with its time-out."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(short_folder / "mute"))
        mute.listen()
        with pytest.raises(ShimUnreachableError, match="did not answer ping"):
            asyncio.run(ShimClient(short_folder / "mute", timeout=0.2).ping())


def test_the_shim_lives_as_long_as_its_job(scripted: Make) -> None:
    """Clients that come and go do not end it."""
    job = scripted(OBEYS).start()
    job.ping()
    assert is_alive(job.shim)
