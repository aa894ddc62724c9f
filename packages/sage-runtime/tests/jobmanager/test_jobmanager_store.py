"""The index of jobs against a plain model, and its threads."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from sage.core.errors import AmbiguousRefError, LimitExceededError, NotFoundError
from sage.core.models import ENDED_STATES, JOB_STATES, FailureInfo
from sage.runtime.jobmanager.database import connect
from sage.runtime.jobmanager.locks import NamedLocks
from sage.runtime.jobmanager.problems import BusyError
from sage.runtime.jobmanager.store import NewJob, Query, Row, Store


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = Store(folder / "jobs.db", jobs=folder / "jobs")
    try:
        yield store
    finally:
        store.close()


def job(job_uuid: str | None = None, name: str = "n") -> NewJob:
    return NewJob(
        uuid=job_uuid or str(uuid.uuid4()),
        name=name,
        backend="local",
        owner="admin",
        options={"a": [1]},
        sha256="s",
        created_at="2026-01-01T00:00:00.000Z",
    )


def run(check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(check())


class StoreMachine(RuleBasedStateMachine):
    """Random submissions, changes, deletions and reopenings, compared with a dict."""

    rows = Bundle("rows")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.store = self.open()
        self.model: dict[int, Row] = {}
        self.highest = 0

    def open(self) -> Store:
        return Store(Path(self.folder.name) / "jobs.db", jobs=Path(self.folder.name) / "jobs")

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    @rule(target=rows, name=st.sampled_from(["a", "b"]))
    def submit(self, name: str) -> Row:
        row, is_new = self.do(self.store.submit(job(name=name)))
        assert is_new
        assert row.number == self.highest + 1, "numbers are given once, in order"
        self.highest = row.number
        self.model[row.number] = row
        found: Row = row
        return found

    @rule(row=rows)
    def submit_again(self, row: Row) -> None:
        again, is_new = self.do(self.store.submit(job(row.uuid)))
        if row.number in self.model:
            assert (again, is_new) == (self.model[row.number], False)
        else:
            known = [item for item in self.model.values() if item.uuid == row.uuid]
            assert is_new == (not known)
            self.highest = max(self.highest, again.number)
            self.model[again.number] = again

    @rule(row=rows, state=st.sampled_from(JOB_STATES), reason=st.none() | st.text(max_size=5))
    def update(self, row: Row, state: str, reason: str | None) -> None:
        failure = FailureInfo("process", "died") if state == "failed" else None
        new = self.do(self.store.update(row.number, state=state, reason=reason, failure=failure))
        assert (new is not None) == (row.number in self.model)
        if new is not None:
            assert (new.state, new.reason, new.failure) == (state, reason, failure)
            self.model[row.number] = new

    @rule(row=rows)
    def delete(self, row: Row) -> None:
        assert self.do(self.store.delete(row.number)) == (self.model.pop(row.number, None) is not None)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule(row=rows)
    def find(self, row: Row) -> None:
        refs = [row.uuid, row.uuid[:20], str(row.number)]
        current = [item for item in self.model.values() if item.uuid == row.uuid]
        for ref in refs[:2] if current else []:
            assert self.do(self.store.find(ref)) == current[0]
        if row.number in self.model:
            assert self.do(self.store.find(refs[2])) == self.model[row.number]

    @invariant()
    def lists_agree(self) -> None:
        for states in ((), ("running",), tuple(ENDED_STATES)):
            expected = [row for row in self.model.values() if not states or row.state in states]
            found: list[Row] = []
            while page := self.do(self.store.page(Query(states, before=found[-1].number if found else None, limit=2))):
                found += page
            assert found == sorted(expected, key=lambda row: -row.number)
        unfinished = [row.number for row in self.do(self.store.unfinished())]
        assert unfinished == sorted(row.number for row in self.model.values() if row.state not in ENDED_STATES)
        assert sum(self.do(self.store.count_by_state()).values()) == self.do(self.store.count()) == len(self.model)

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        self.folder.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20)
TestStoreAgainstAModel = StoreMachine.TestCase


class TestLookups:
    """What leads to a job."""

    def test_a_number_comes_before_a_prefix(self, tmp_path: Path) -> None:
        """Digits are a number first, and a prefix where there is no such number."""

        async def check() -> None:
            with opened(tmp_path) as store:
                first, _ = await store.submit(job("11110000-0000-4000-8000-000000000000"))
                assert (await store.find("1111")).number == 1
                assert (await store.find("1")).number == 1
                for _ in range(1111):
                    last, _ = await store.submit(job("a" + str(uuid.uuid4())[1:]))
                assert last.number == 1112
                assert (await store.find("1111")).number == 1111
                assert (await store.find("11110")).number == first.number
                await store.submit(job("beef0000-0000-4000-8000-000000000000"))
                await store.submit(job("beef1111-0000-4000-8000-000000000000"))
                with pytest.raises(AmbiguousRefError):
                    await store.find("beef")

        run(check)

    @pytest.mark.parametrize(
        "ref", ["", "abc", "abcg", "%", "____", "abcd%", "' OR 1=1 --", "\x00", "😀" * 4, "9" * 19]
    )
    def test_what_names_nothing(self, tmp_path: Path, ref: str) -> None:
        """Patterns and SQL are no references."""

        async def check() -> None:
            with opened(tmp_path) as store:
                await store.submit(job("abcd0000-0000-4000-8000-000000000000"))
                with pytest.raises(NotFoundError):
                    await store.find(ref)

        run(check)

    def test_unknown_columns_are_refused(self, tmp_path: Path) -> None:
        """Only known columns become part of a statement."""

        async def check() -> None:
            with opened(tmp_path) as store:
                await store.submit(job())
                with pytest.raises(ValueError, match="uuid"):
                    await store.update(1, uuid="x")
                with pytest.raises(ValueError, match="nonsense"):
                    await store.update(1, nonsense=1)

        run(check)


class TestWriting:
    """Batches, failures, the end."""

    def test_a_failing_write_takes_no_other_with_it(self, tmp_path: Path) -> None:
        """Writes that share a transaction succeed and fail each for itself."""

        async def check() -> None:
            with opened(tmp_path) as store:
                await store.submit(job())
                held = threading.Event()
                blocker = asyncio.wrap_future(store._writer.ask(lambda connection: held.wait(30)))
                writes: list[Any] = []
                for number in range(20):
                    if number % 2:
                        writes.append(store._write(lambda connection: connection.execute("NONSENSE")))
                    else:
                        writes.append(store.submit(job()))
                tasks = [asyncio.ensure_future(item) for item in writes]
                await asyncio.sleep(0)
                held.set()
                await blocker
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert [isinstance(result, Exception) for result in results] == [False, True] * 10
                assert await store.count() == 11

        run(check)

    def test_a_full_queue_says_so(self, tmp_path: Path) -> None:
        """More than may wait is refused, not kept."""

        async def check() -> None:
            with opened(tmp_path) as store:
                held = threading.Event()
                blocker = asyncio.wrap_future(store._writer.ask(lambda connection: held.wait(30)))
                with pytest.raises(BusyError):
                    for _ in range(10_000):
                        store._writer.ask(lambda connection: None)
                held.set()
                await blocker

        run(check)

    def test_a_full_disk_is_named(self, tmp_path: Path) -> None:
        """What SQLite says of a full disk is told as such, and the store serves on."""

        async def check() -> None:
            with opened(tmp_path) as store:
                await store.submit(job())
                await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
                with pytest.raises(LimitExceededError, match="full"):
                    for _ in range(500):
                        await store.submit(job(name="n" * 200))
                assert (await store.find("1")).number == 1
                await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
                assert (await store.submit(job()))[1]

        run(check)

    def test_a_lock_of_another_process_is_named(self, tmp_path: Path) -> None:
        """While somebody else holds the database, writes are answered as busy; reads and later writes go well."""

        async def check() -> None:
            with opened(tmp_path) as store:
                await store.submit(job())
                store._writer._connection.execute("PRAGMA busy_timeout = 1")
                other = connect(tmp_path / "jobs.db")
                try:
                    other.execute("BEGIN IMMEDIATE")
                    with pytest.raises(BusyError, match="locked by another process"):
                        await store.submit(job())
                    assert (await store.find("1")).number == 1
                    other.execute("COMMIT")
                finally:
                    other.close()
                assert (await store.submit(job()))[1]

        run(check)

    def test_after_the_end_nothing_is_taken(self, tmp_path: Path) -> None:
        """What was asked before is done, what comes later is refused."""

        async def check() -> None:
            with opened(tmp_path) as store:
                tasks = [asyncio.ensure_future(store.submit(job())) for _ in range(50)]
                await asyncio.sleep(0)
                store.close()
                assert len(await asyncio.gather(*tasks)) == 50
                with pytest.raises(BusyError):
                    await store.count()

        run(check)


class TestNamedLocks:
    """One lock for each name."""

    def test_one_at_a_time_for_one_name(self) -> None:
        """Holders of one name exclude each other, those of others do not; nothing is kept afterwards."""

        async def check() -> None:
            locks = NamedLocks()
            inside: list[str] = []

            async def enter(name: str) -> None:
                async with locks.hold(name):
                    assert name not in inside
                    inside.append(name)
                    await asyncio.sleep(0)
                    inside.remove(name)

            await asyncio.gather(*(enter(name) for name in "aabbaabb"))
            async with locks.hold("a"), locks.hold("b"):
                assert len(locks) == 2
            assert len(locks) == 0

        run(check)
