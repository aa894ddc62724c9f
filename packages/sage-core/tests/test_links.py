"""Channels: ordered, bounded by credits, and whoever was refused is woken."""

from __future__ import annotations

import threading

from sage.core.engine.links import CREDITS, Inbox, LocalLink, Signal
from sage.core.engine.messages import Batch, EndOfInput

LIMIT = 60.0


def nothing() -> None:
    """A callback that nobody listens to."""


def test_a_signal_set_twice_wakes_once() -> None:
    """Setting is remembered until somebody waits, and only once."""
    signal = Signal()
    signal.set()
    signal.set()
    assert signal.wait(0)
    assert not signal.wait(0)


def test_a_signal_wakes_a_thread_that_waits() -> None:
    """Whoever waits is woken by a signal from another thread."""
    signal, woken = Signal(), threading.Event()

    def wait() -> None:
        signal.wait()
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    signal.set()
    assert woken.wait(LIMIT)
    thread.join()


def test_messages_keep_their_order_and_each_put_wakes() -> None:
    """First in, first out; the reader is woken for every message."""
    woken: list[int] = []
    inbox = Inbox(lambda: woken.append(len(inbox)))
    for number in range(3):
        inbox.put(Batch([number]))
    inbox.put(EndOfInput())
    assert woken == [1, 2, 3, 4]
    taken = [inbox.take() for _ in range(5)]
    assert taken == [Batch([0]), Batch([1]), Batch([2]), EndOfInput(), None]


def test_a_link_refuses_beyond_its_credits_and_takes_nothing_then() -> None:
    """A refused message is not in the inbox; the end of input needs a credit as well."""
    inbox = Inbox(nothing)
    link = LocalLink(inbox)
    assert [link.offer(Batch([number])) for number in range(CREDITS + 2)] == [True] * CREDITS + [False] * 2
    assert not link.offer(EndOfInput())
    assert len(inbox) == CREDITS
    inbox.take()
    assert link.offer(EndOfInput())


def test_a_credit_that_comes_back_is_told_only_after_a_refusal() -> None:
    """A sender that was never refused need not hear of every message taken; a refused one hears once."""
    told: list[str] = []
    inbox = Inbox(nothing)
    link = LocalLink(inbox, 1)
    link.on_credit(lambda: told.append("credit"))
    assert link.offer(Batch([1]))
    inbox.take()
    assert told == []
    assert link.offer(Batch([2]))
    assert not link.offer(Batch([3]))
    assert not link.offer(Batch([3]))
    inbox.take()
    assert told == ["credit"]
    assert link.offer(Batch([3]))


def test_a_link_without_a_limit_takes_everything() -> None:
    """``credits=None`` is for hosts that drain a channel before anything else happens."""
    link = LocalLink(Inbox(nothing), None)
    assert all(link.offer(Batch([number])) for number in range(1000))


def test_no_credit_is_ever_missed_between_two_threads() -> None:
    """A sender that only goes on when told so gets everything through one credit, in order."""
    full = Signal()
    arrived = Signal()
    inbox = Inbox(arrived.set)
    link = LocalLink(inbox, 1)
    link.on_credit(full.set)
    count = 20_000

    def send() -> None:
        for number in range(count):
            while not link.offer(Batch([number])):
                assert full.wait(LIMIT), "a credit came back and nobody said so"

    thread = threading.Thread(target=send)
    thread.start()
    taken: list[int] = []
    while len(taken) < count:
        message = inbox.take()
        if message is None:
            assert arrived.wait(LIMIT), "a message arrived and nobody said so"
        else:
            assert isinstance(message, Batch)
            taken += message.records
    thread.join()
    assert taken == list(range(count))
