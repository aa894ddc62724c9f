"""The outgoing side of a task: batches, exchanges, and what waits for a credit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.keys import key_group, subtask_of_group
from sage.core.engine.links import Inbox, LocalLink
from sage.core.engine.messages import Batch, EndOfInput
from sage.core.engine.output import Output
from sage.core.graph.model import Exchange


class Channels:
    """The receiving ends of an output under test."""

    def __init__(self, count: int, credits: int | None = None) -> None:
        self.inboxes = [Inbox(lambda: None) for _ in range(count)]
        self.links = [LocalLink(inbox, credits) for inbox in self.inboxes]

    def output(self, exchange: Exchange, *, keyed: bool = False, size: int = 4) -> Output:
        return Output(exchange, self.links, keyed=keyed, batch_size=size)

    def take(self, channel: int = 0) -> list[Any]:
        """What has arrived, as lists of records; the end of input as None."""
        found: list[Any] = []
        while (message := self.inboxes[channel].take()) is not None:
            found.append(message.records if isinstance(message, Batch) else None)
        return found


def put(output: Output, records: Sequence[Any], keys: Sequence[Any] | None = None) -> None:
    output.records.extend(records)
    if keys is not None:
        output.keys.extend(keys)


def test_full_batches_leave_and_the_rest_waits_for_more() -> None:
    """Without ``partial`` only full batches leave; with it, everything does."""
    channels = Channels(1)
    output = channels.output("forward")
    put(output, range(10))
    assert output.flush(partial=False)
    assert channels.take() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    put(output, [10])
    assert output.flush(partial=False)
    assert channels.take() == []
    assert output.flush(partial=True)
    assert channels.take() == [[8, 9, 10]]
    assert (output.sent, output.sent_batches) == (11, 3)


def test_a_full_batch_without_credit_stops_its_producer_and_keeps_the_order() -> None:
    """``flush`` answers False while a full batch waits; a partial one that waits may still grow."""
    channels = Channels(1, credits=1)
    output = channels.output("forward")
    put(output, range(6))
    assert output.flush(partial=True)
    assert channels.inboxes[0].take() == Batch([0, 1, 2, 3])
    assert output.flush(partial=True)
    put(output, [6, 7])
    assert output.flush(partial=True)
    put(output, range(8, 11))
    assert not output.flush(partial=False)
    arrived: list[int] = []
    while len(arrived) < 7:
        message = channels.inboxes[0].take()
        assert isinstance(message, Batch)
        arrived += message.records
        output.flush(partial=True)
    assert arrived == [4, 5, 6, 7, 8, 9, 10]


def test_the_end_comes_after_everything_and_once() -> None:
    """The end of input waits for its turn and for a credit, and is not repeated."""
    channels = Channels(2, credits=1)
    output = channels.output("rebalance", size=1)
    put(output, ["a", "b", "c"])
    assert not output.end()
    assert channels.take(1) == [["b"]]
    assert not output.end()
    assert channels.take(0) == [["a"]]
    assert not output.end()
    assert channels.take(1) == [None]
    assert channels.take(0) == [["c"]]
    assert output.end()
    assert output.end()
    assert channels.take(0) == [None]
    assert channels.take(1) == []


@given(counts=st.lists(st.integers(0, 9), max_size=6), targets=st.integers(1, 5))
def test_rebalance_deals_out_in_turn(counts: list[int], targets: int) -> None:
    """However records come in bunches, they are dealt like cards."""
    channels = Channels(targets)
    output = channels.output("rebalance")
    total = 0
    for count in counts:
        put(output, range(total, total + count))
        total += count
        output.flush(partial=True)
    for target in range(targets):
        assert [record for batch in channels.take(target) for record in batch] == list(range(total))[target::targets]


def test_broadcast_gives_each_target_a_list_of_its_own() -> None:
    """Every target gets all records; the lists are not shared."""
    channels = Channels(3)
    output = channels.output("broadcast")
    put(output, [1, 2])
    output.flush(partial=True)
    batches = [channels.take(target)[0] for target in range(3)]
    assert batches == [[1, 2]] * 3
    assert len({id(batch) for batch in batches}) == 3


@given(keys=st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=50), targets=st.integers(1, 5))
def test_hash_sends_each_key_to_the_subtask_of_its_group_in_order(keys: list[Any], targets: int) -> None:
    """Records travel with their keys; what has one key stays in order."""
    channels = Channels(targets)
    output = channels.output("hash", keyed=True, size=3)
    put(output, range(len(keys)), keys)
    output.flush(partial=True)
    for target, inbox in enumerate(channels.inboxes):
        expected = [
            (place, key) for place, key in enumerate(keys) if subtask_of_group(key_group(key), targets) == target
        ]
        found: list[tuple[int, Any]] = []
        while (message := inbox.take()) is not None:
            assert isinstance(message, Batch)
            assert message.keys is not None
            assert len(message.records) <= 3
            found += zip(message.records, message.keys, strict=True)
        assert found == expected


def test_one_blocked_channel_does_not_hold_up_the_others() -> None:
    """What is for a free channel leaves although another has no credit."""
    channels = Channels(2, credits=1)
    output = channels.output("rebalance", size=1)
    put(output, ["a", "b"])
    assert output.flush(partial=True)
    channels.take(1)
    put(output, ["c", "d"])
    assert not output.flush(partial=True)
    assert channels.take(1) == [["d"]]


@pytest.mark.parametrize("keyed", [False, True])
def test_what_is_rescued_from_a_chain_at_work_is_neither_lost_nor_doubled(keyed: bool) -> None:
    """One thread appends as a chain does while another takes out what has gathered: order and pairs stay whole."""
    channels = Channels(2 if keyed else 1)
    output = channels.output("hash" if keyed else "forward", keyed=keyed, size=100)
    count, done = 100_000, threading.Event()

    def rescue() -> None:
        while not done.is_set():
            output.rescue()

    thread = threading.Thread(target=rescue)
    thread.start()
    for start in range(0, count, 1000):
        append, append_key = output.records.append, output.keys.append
        for number in range(start, start + 1000):
            append(number)
            if keyed:
                append_key(number % 17)
        output.flush(partial=False)
    done.set()
    thread.join()
    assert output.end()
    found: list[int] = []
    for inbox in channels.inboxes:
        arrived: list[int] = []
        while not isinstance(message := inbox.take(), EndOfInput):
            assert isinstance(message, Batch)
            arrived += message.records
            assert message.keys == ([record % 17 for record in message.records] if keyed else None)
        assert arrived == sorted(arrived)
        found += arrived
    assert sorted(found) == list(range(count))


def test_what_found_no_credit_is_rescued_when_there_is_one() -> None:
    """A chain that set to work without a credit for what it had does not see one come back: the rescue does."""
    channels = Channels(1, credits=1)
    output = channels.output("forward")
    put(output, ["a"])
    assert output.flush(partial=True)
    put(output, ["b"])
    assert output.flush(partial=True)  # it may grow meanwhile: its task goes on
    assert channels.take() == [["a"]]
    output.rescue()
    assert channels.take() == [["b"]]


class Touchy:
    """A key that hashes like any other and refuses to be compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("do not compare me")


def test_a_rescue_that_fails_loses_nothing() -> None:
    """Where a key's own code raises, the records stay where they are, for their own task to meet the same."""
    channels = Channels(2)
    output = channels.output("hash", keyed=True)
    put(output, ["a", "b", "c"], [1, 2, Touchy()])
    for _ in range(2):
        with pytest.raises(ArithmeticError):
            output.rescue()
    assert output.records == ["a", "b", "c"]
    assert len(output.keys) == 3
    assert channels.take(0) == channels.take(1) == []
