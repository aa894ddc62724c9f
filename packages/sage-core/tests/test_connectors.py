"""The contract of connectors: who calls what, when, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, dead_letter, retry, skip
from sage.core.connectors.api import STOP, ConnectorError, Reader, RecordError, Sink, Source
from sage.core.connectors.files import JsonlSink, JsonlSource
from sage.core.engine.context import RuntimeContext
from sage.core.errors import GraphError, JobFailedError


class Script:
    """What readers answer, by partition, and what was called; one for a test, shared by all copies."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[Any, ...]] = []
        self.positions: dict[str, int] = {}

    def __deepcopy__(self, memo: Any) -> Script:
        return self


class Scripted:
    """A source that does what its script says: a list is read, an exception raised, None and `STOP` answered."""

    bounded = True

    def __init__(self, script: Script) -> None:
        self.script = script

    def partitions(self) -> Sequence[str]:
        return list(self.script.answers)

    def open(self, partition: str, position: object | None) -> Reader:
        self.script.calls.append(("open", partition, position))
        return ScriptedReader(self.script, partition)


class Unbounded(Scripted):
    bounded = False


class ScriptedReader:
    def __init__(self, script: Script, name: str) -> None:
        self.script, self.name = script, name
        self.answers = iter([*script.answers[name], STOP])

    def read(self, n: int) -> Any:
        answer = next(self.answers)
        self.script.calls.append(("read", self.name))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def position(self) -> object:
        return 0

    def wait(self, timeout: float) -> None:
        self.script.calls.append(("wait", self.name, timeout < 1))

    def close(self) -> None:
        self.script.calls.append(("close", self.name))


def run(backend: str, source: Any, **options: Any) -> list[Any]:
    """The records that a job reads."""
    env = LocalEnvironment("connectors", backend=backend)
    records = env.from_connector(source, **options).collect()
    env.submit(autostop=True)
    return list(records)


def failed(backend: str, source: Any, **options: Any) -> JobFailedError:
    """Why the job failed."""
    env = LocalEnvironment("connectors", backend=backend)
    env.from_connector(source, **options).collect()
    with pytest.raises(JobFailedError) as raised:
        env.submit(autostop=True)
    return raised.value


def test_built_in_connectors_keep_the_contract() -> None:
    """As type checkers see it, too."""
    source: Source = JsonlSource("x")
    sink: Sink = JsonlSink("x")
    assert isinstance(source, Source)
    assert isinstance(sink, Sink)


def test_bounded_partitions_are_read_one_after_the_other(backend: str) -> None:
    """A reader is opened when its turn comes, and closed before the next is opened."""
    script = Script(a=[[1], [], [2, 3]], b=[[4]])
    assert run(backend, Scripted(script)) == [1, 2, 3, 4]
    assert [call[:2] for call in script.calls if call[0] != "read"] == [
        ("open", "a"),
        ("close", "a"),
        ("open", "b"),
        ("close", "b"),
    ]


def test_partitions_without_end_are_read_in_turn(backend: str) -> None:
    """One that has nothing yet does not hold up the others; when none has, it is waited for, shortly."""
    script = Script(a=[[1], None, None, [2]], b=[[10], [20], None, [30]])
    found = run(backend, Unbounded(script))
    assert sorted(found) == [1, 2, 10, 20, 30]
    assert found[:3] == [1, 10, 20]
    waits = [call for call in script.calls if call[0] == "wait"]
    assert waits
    assert all(short for _, _, short in waits)


def test_a_source_without_partitions_reads_nothing(backend: str) -> None:
    """There is nothing to read, and the job completes."""
    assert run(backend, Scripted(Script())) == []
    assert run(backend, Scripted(Script()), parallelism=2) == []


def test_partitions_are_dealt_out(backend: str) -> None:
    """Each is read by one subtask."""
    script = Script(**{f"p{number}": [[number]] for number in range(7)})
    assert sorted(run(backend, Scripted(script), parallelism=3)) == list(range(7))
    assert len([call for call in script.calls if call[0] == "open"]) == 7


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a"], "partitions() names 'a' twice"),
        ("ab", "partitions() must return a list of names, not 'ab'"),
        ([1], "partitions() must return a list of names, not [1]"),
        (None, "partitions() must return a list of names, not None"),
        (iter("a"), "partitions() must return a list of names"),
    ],
)
def test_partitions_that_are_none_are_a_problem_of_the_graph(names: Any, reason: str) -> None:
    """The job does not start."""

    class Wrong(Scripted):
        def partitions(self) -> Any:
            return names

    env = LocalEnvironment("connectors")
    env.from_connector(Wrong, Script()).collect()
    with pytest.raises(GraphError) as raised:
        env.submit(autostop=True)
    assert reason in str(raised.value)


def test_an_error_while_partitions_are_listed_is_a_problem_of_the_graph() -> None:
    """With the source's line, and the error as its cause."""

    class Wrong(Scripted):
        def partitions(self) -> Any:
            raise ConnectorError("nobody answers", hint="start the server")

    env = LocalEnvironment("connectors")
    env.from_connector(Wrong, Script()).collect()
    with pytest.raises(GraphError, match="nobody answers") as raised:
        env.submit(autostop=True)
    assert "start the server" in str(raised.value)
    assert isinstance(raised.value.__cause__, ConnectorError)


def test_an_unusable_record_is_a_matter_of_the_policy(backend: str) -> None:
    """Records before and after it are read."""
    script = Script(a=[[1], RecordError("bad", record="x"), [2]])
    assert run(backend, Scripted(script), on_error=skip()) == [1, 2]
    assert "bad" in str(failed(backend, Scripted(script)))


def test_an_unusable_record_is_not_tried_again(backend: str) -> None:
    """The reader is behind it."""
    script = Script(a=[[1], RecordError("bad", record="x"), [2]])
    assert "bad" in str(failed(backend, Scripted(script), on_error=retry(3, backoff=0.001)))
    assert len([call for call in script.calls if call[0] == "read"]) == 2


def test_another_error_is_tried_again_and_then_fails_whatever_the_policy(backend: str) -> None:
    """It is no matter of one record."""
    script = Script(a=[[1], OSError("down"), OSError("down"), [2]])
    assert run(backend, Scripted(script), on_error=retry(2, backoff=0.001)) == [1, 2]
    for policy in (retry(1, backoff=0.001), skip(), dead_letter("/dev/null")):
        assert "down" in str(failed(backend, Scripted(script), on_error=policy))


def test_opening_is_tried_again(backend: str) -> None:
    """As reading is."""
    left = [OSError("down"), OSError("down")]

    class Slow(Scripted):
        def open(self, partition: str, position: object | None) -> Reader:
            if left:
                raise left.pop()
            return super().open(partition, position)

    assert run(backend, Slow(Script(a=[[1]])), on_error=retry(2, backoff=0.001)) == [1]


def test_readers_are_closed_when_the_job_fails(backend: str) -> None:
    """All that are open; the first error of theirs is told with the job's."""
    script = Script(a=[[1], [2]], b=[None, OSError("down")])

    class BadlyClosed(Unbounded):
        def open(self, partition: str, position: object | None) -> Reader:
            reader = super().open(partition, position)

            class Closes(ScriptedReader):
                def close(self) -> None:
                    super().close()
                    raise ValueError(f"cannot close {self.name}")

            reader.__class__ = Closes
            return reader

    error = failed(backend, BadlyClosed(script))
    assert "down" in str(error)
    assert error.failure is not None
    assert "cannot close" in (error.failure.traceback or "")
    assert sorted(call[1] for call in script.calls if call[0] == "close") == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (object(), "does not define partitions, open"),
        (print, "does not define partitions, open"),
        (type("Half", (), {"open": lambda self: None}), "does not define partitions"),
    ],
)
def test_what_is_no_source_is_a_problem_of_the_graph(given: Any, reason: str) -> None:
    """What a connector has to define is listed."""
    env = LocalEnvironment("connectors")
    env.from_connector(given).collect()
    with pytest.raises(GraphError, match=reason):
        env.submit(autostop=True)


def test_what_is_no_sink_is_a_problem_of_the_graph() -> None:
    """A function for `sink` is none."""
    env = LocalEnvironment("connectors")
    env.from_batch([1]).to_connector(print)
    with pytest.raises(GraphError, match="does not define open, write, close"):
        env.submit(autostop=True)


# --- sinks -------------------------------------------------------------------------------------------------------


class Recorder:
    """A sink that notes its calls on a list that all copies share."""

    def __init__(self, calls: Calls, delivery: str = "at-least-once") -> None:
        self.calls, self.delivery = calls, delivery
        self.errors: list[Exception] = []

    def open(self, context: RuntimeContext) -> None:
        self.subtask = context.subtask
        self.calls.add("open", self.subtask, context.parallelism)

    def write(self, records: list[Any]) -> None:
        self.calls.add("write", self.subtask, list(records))
        if self.calls.errors:
            raise self.calls.errors.pop(0)
        bad = [record for record in records if record in self.calls.refused]
        if bad:
            raise RecordError("refused", record=bad[0])
        records.clear()  # the list is the sink's

    def prepare(self, n: int) -> object | None:
        self.calls.add("prepare", self.subtask, n)
        return self.calls.handle

    def commit(self, handle: object) -> None:
        self.calls.add("commit", self.subtask, handle)

    def abort(self, handle: object) -> None:
        self.calls.add("abort", self.subtask, handle)

    def close(self) -> None:
        self.calls.add("close", self.subtask)


class Calls:
    """What was called, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []
        self.errors: list[Exception] = []
        self.refused: set[Any] = set()
        self.handle: object | None = "handle"

    def add(self, *call: Any) -> None:
        self.all.append(call)

    def names(self) -> list[str]:
        return [call[0] for call in self.all]

    def __deepcopy__(self, memo: Any) -> Calls:
        return self


def write(backend: str, calls: Calls, records: Any, delivery: str = "transactional", **options: Any) -> None:
    """Run a job that writes records."""
    env = LocalEnvironment("connectors", backend=backend)
    env.from_batch(lambda: iter(records)).to_connector(Recorder(calls, delivery), **options)
    env.submit(autostop=True)


def test_the_life_of_a_transactional_sink(backend: str) -> None:
    """Opened, written to, prepared, committed, closed."""
    calls = Calls()
    write(backend, calls, range(3000))
    names = calls.names()
    assert names[0] == "open"
    assert names[-3:] == ["prepare", "commit", "close"]
    assert set(names[1:-3]) == {"write"}
    assert [record for call in calls.all if call[0] == "write" for record in call[2]] == list(range(3000))
    assert max(len(call[2]) for call in calls.all if call[0] == "write") <= 1024


def test_other_sinks_are_not_asked_to_prepare(backend: str) -> None:
    """They have nothing to publish."""
    calls = Calls()
    write(backend, calls, [1], "at-least-once")
    assert calls.names() == ["open", "write", "close"]


def test_a_sink_may_have_nothing_to_commit(backend: str) -> None:
    """`prepare` says so by None."""
    calls = Calls()
    calls.handle = None
    write(backend, calls, [1])
    assert calls.names() == ["open", "write", "prepare", "close"]


def test_all_subtasks_are_prepared_before_any_commits(backend: str) -> None:
    """So that a failure of one leaves nothing of the others."""
    calls = Calls()
    write(backend, calls, range(100), parallelism=3)
    names = calls.names()
    assert names.count("commit") == 3
    assert max(i for i, name in enumerate(names) if name == "prepare") < names.index("commit")


def test_what_was_prepared_is_given_up_when_the_job_fails(backend: str) -> None:
    """`abort` gets what `prepare` gave."""
    calls = Calls()
    env = LocalEnvironment("connectors", backend=backend)
    env.from_batch([1]).to_connector(Recorder(calls, "transactional"))
    env.from_batch(range(3000)).map(lambda x: 1 / (2999 - x)).rebalance().sink(lambda x: None)
    with pytest.raises(JobFailedError):
        env.submit(autostop=True)
    assert "commit" not in calls.names()
    assert calls.names()[-1] == "close"
    assert ("prepare" in calls.names()) == ("abort" in calls.names())


def test_a_refused_record_is_given_up_and_the_others_are_written(backend: str) -> None:
    """The batch is written again, record by record."""
    calls = Calls()
    calls.refused = {2}
    env = LocalEnvironment("connectors", backend=backend)
    env.from_batch([[1, 2, 3]]).flatmap(lambda x: x).to_connector(Recorder(calls), on_error=skip())
    status = env.submit(autostop=True).status()
    assert status["skipped"] == 1
    assert [call[2] for call in calls.all if call[0] == "write"] == [[1, 2, 3], [1], [2], [3]]


def test_another_error_of_a_sink_is_tried_again_and_then_fails(backend: str) -> None:
    """The whole batch; it is no matter of one record."""
    calls = Calls()
    calls.errors = [OSError("down"), OSError("down")]
    write(backend, calls, [1], on_error=retry(2, backoff=0.001))
    assert [call[2] for call in calls.all if call[0] == "write"] == [[1]] * 3
    for policy in (None, retry(1, backoff=0.001), skip()):
        calls = Calls()
        calls.errors = [OSError("down"), OSError("down")]
        with pytest.raises(JobFailedError, match="down"):
            write(backend, calls, [1], on_error=policy)
        assert calls.names()[-1] == "close"


@pytest.mark.parametrize("phase", ["open", "prepare", "commit", "close"])
def test_an_error_names_what_was_asked_of_the_sink(backend: str, phase: str) -> None:
    """And the operator."""

    class Fails(Recorder):
        def __getattribute__(self, name: str) -> Any:
            if name == phase:
                return self._fail
            return super().__getattribute__(name)

        def _fail(self, *_: object) -> None:
            raise ValueError("oops")

    env = LocalEnvironment("connectors", backend=backend)
    env.from_batch([1]).to_connector(Fails(Calls(), "transactional"), name="fails")
    with pytest.raises(JobFailedError, match="oops") as raised:
        env.submit(autostop=True)
    assert "fails" in str(raised.value)
    assert phase in str(raised.value)
