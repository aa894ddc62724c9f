"""Records whose function raises: fail, skip, retry, dead letters, budgets; on every kind of operator."""

from __future__ import annotations

import bdb
import json
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import (
    AggregateFunction,
    BatchFunction,
    DataStream,
    DeadLetter,
    ErrorPolicy,
    LocalEnvironment,
    MapFunction,
    dead_letter,
    fail,
    read_dead_letters,
    retry,
    skip,
)
from sage.core.api._local_job import LocalJob
from sage.core.errors import DeadLetterFileError, GraphError, JobFailedError

BACKENDS = ("inline", "local")


def odd(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


class OddSum(AggregateFunction):
    def create(self) -> int:
        return 0

    def add(self, accumulator: int, value: int) -> int:
        return accumulator + odd(value)


OPERATORS: dict[str, tuple[Callable[[DataStream, ErrorPolicy], DataStream], list[Any]]] = {
    "map": (lambda s, policy: s.map(odd, on_error=policy), [0, 2, 4]),
    "filter": (lambda s, policy: s.filter(lambda x: odd(x) + 1, on_error=policy), [0, 2, 4]),
    "filter_map": (lambda s, policy: s.filter_map(odd, on_error=policy), [0, 2, 4]),
    "flatmap": (lambda s, policy: s.flatmap(lambda x: (y for y in (x, odd(x))), on_error=policy), [0, 0, 2, 2, 4, 4]),
    "keyby": (lambda s, policy: s.keyby(odd, on_error=policy).map(lambda x: x), [0, 2, 4]),
    "reduce": (lambda s, policy: s.reduce(lambda a, x: a + odd(x), on_error=policy), [0, 2, 6]),
    "aggregate": (lambda s, policy: s.aggregate(OddSum, on_error=policy), [0, 2, 6]),
    "reduce at the end": (lambda s, policy: s.reduce(lambda a, x: a + odd(x), on_error=policy, final=True), [6]),
    "aggregate at the end": (lambda s, policy: s.aggregate(OddSum, on_error=policy, final=True), [6]),
    "comap": (lambda s, policy: s.connect(s.filter(lambda x: False)).comap(odd, odd, on_error=policy), [0, 2, 4]),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", OPERATORS)
def test_a_skipped_record_is_left_out_and_no_other(kind: str, backend: str) -> None:
    """Whatever the operator, the others' results are those of an input without the failing records."""
    operator, expected = OPERATORS[kind]
    env = LocalEnvironment("skip", backend=backend)
    results = operator(env.from_batch(range(6)), skip()).collect()
    env.submit(autostop=True)
    assert sorted(results) == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", OPERATORS)
def test_a_dead_letter_holds_the_record_and_the_reason(kind: str, backend: str) -> None:
    """Each failing record arrives on the stream of dead letters, once, with operator, exception and traceback."""
    operator, expected = OPERATORS[kind]
    env = LocalEnvironment("dead", backend=backend)
    source = env.from_batch(range(6))
    stream = source.keyby(odd, on_error=dead_letter()) if kind == "keyby" else operator(source, dead_letter())
    results = (stream.map(lambda x: x) if kind == "keyby" else stream).collect()
    letters: list[DeadLetter] = stream.dead_letters.collect()
    env.submit(autostop=True)
    assert sorted(results) == expected
    assert sorted(letter.record for letter in letters) == [1, 3, 5]
    failure = letters[0].failure
    assert failure.error_type == "ValueError"
    assert failure.uid is not None and failure.uid.startswith(kind.split()[0])
    assert failure.location is not None and failure.location.startswith(Path(__file__).name)
    assert "in odd" in (failure.traceback or "") and "sage/core/engine" not in (failure.traceback or "")


def test_dead_letters_that_go_nowhere_are_refused() -> None:
    """A record that was to be kept shall not be lost, because nobody takes the stream, or because there is none."""
    env = LocalEnvironment("nowhere")
    numbers = env.from_batch(range(6))
    numbers.map(odd, on_error=retry(1, then=dead_letter())).collect()
    numbers.keyby(odd, on_error=dead_letter()).map(str).collect()
    numbers.sink(odd, on_error=dead_letter())
    taken = numbers.map(odd, on_error=dead_letter(), name="taken")
    taken.collect()
    taken.dead_letters.collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert len(caught.value.problems) == 3
    text = str(caught.value)
    assert text.count("its dead letters go nowhere") == 2
    assert "dead letters of a sink have no stream to go to" in text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sink_may_skip(backend: str) -> None:
    """A sink that refuses some records keeps the others."""
    kept: list[int] = []
    env = LocalEnvironment("sink", backend=backend)
    env.from_batch(range(6)).sink(lambda x: kept.append(odd(x)), on_error=skip())
    env.submit(autostop=True)
    assert kept == [0, 2, 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_retry_calls_again_until_it_succeeds(backend: str) -> None:
    """A call that fails twice and then succeeds gives its result once; nobody else notices."""
    calls: list[int] = []

    def flaky(value: int) -> int:
        calls.append(value)
        if calls.count(value) < 3:
            raise OSError("not yet")
        return value

    env = LocalEnvironment("retry", backend=backend)
    results = env.from_batch(range(3)).map(flaky, on_error=retry(2, backoff=0)).collect()
    env.submit(autostop=True)
    assert results == [0, 1, 2]
    assert calls == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_the_last_retry_the_next_policy_decides(backend: str) -> None:
    """`then` takes over; by default the job fails, and names record and operator as without a policy."""
    env = LocalEnvironment("then", backend=backend)
    results = env.from_batch(range(4)).map(odd, on_error=retry(1, backoff=0, then=skip())).collect()
    env.submit(autostop=True)
    assert results == [0, 2]
    env = LocalEnvironment("fails", backend=backend)
    env.from_batch(range(4)).map(odd, on_error=retry(1, backoff=0)).print()
    with pytest.raises(JobFailedError) as caught:
        env.submit(autostop=True)
    failure = caught.value.failure
    assert failure is not None
    assert (failure.record, failure.uid, failure.error_type) == ("1", "map:odd", "ValueError")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_source_retries_and_skips_calls(backend: str) -> None:
    """A source's failing call gives no record; the next call may."""

    class Unsteady(BatchFunction):
        def __init__(self) -> None:
            self.calls = 0

        def execute(self) -> int | None:
            self.calls += 1
            if self.calls % 2:
                raise OSError("line noise")
            return self.calls if self.calls <= 6 else None

    for policy in (skip(), retry(1, backoff=0)):
        env = LocalEnvironment("source", backend=backend)
        results = env.from_batch(Unsteady, on_error=policy).collect()
        env.submit(autostop=True)
        assert results == [2, 4, 6]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("policy", [skip(at_most=2), dead_letter(at_most=2), retry(1, backoff=0, then=skip(at_most=2))])
def test_one_record_more_than_the_budget_fails_the_job(backend: str, policy: ErrorPolicy) -> None:
    """The job names the budget, and the last error is its cause."""
    env = LocalEnvironment("budget", backend=backend)
    stream = env.from_batch(range(6)).map(odd, on_error=policy)
    (stream if policy.then == "skip" else stream.union(stream.dead_letters)).collect()
    with pytest.raises(JobFailedError, match="3 records were given up, 2 at most are allowed") as caught:
        env.submit(autostop=True)
    assert caught.value.failure is not None
    assert "5 is odd" in str(caught.value.failure.traceback)


def test_a_budget_of_nothing_is_spent_by_one_record() -> None:
    """Which is told in the singular, with what to do."""
    for budget, told in (
        (skip(at_most=0), "1 record was given up, 0 at"),
        (skip(ratio=0), "1 record was given up, a share of 0 of 1 "),
    ):
        env = LocalEnvironment("budget", backend="inline")
        env.from_batch([1]).map(odd, on_error=budget).collect()
        with pytest.raises(JobFailedError, match=f"{told}.*\n  hint: mend what fails"):
            env.submit(autostop=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_ratio_is_looked_at_over_many_records_and_at_the_end(backend: str) -> None:
    """Half of the records failing is too much for a fifth and not for two thirds, also among few records."""
    for count in (10, 1000):
        env = LocalEnvironment("ratio", backend=backend)
        results = env.from_batch(range(count)).map(odd, on_error=skip(ratio=2 / 3)).collect()
        env.submit(autostop=True)
        assert len(results) == count // 2
        env = LocalEnvironment("ratio", backend=backend)
        env.from_batch(range(count)).map(odd, on_error=skip(ratio=0.2)).collect()
        with pytest.raises(
            JobFailedError,
            match=r"a share of 0\.2 of [\d,]+ is allowed; the newest is \d+: .* is odd",
        ):
            env.submit(autostop=True)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_is_no_exception_fails_the_job_under_any_policy(error: type[BaseException]) -> None:
    """SystemExit and its like end programs; no policy takes them for a bad record."""

    def leave(value: int) -> int:
        raise error

    env = LocalEnvironment("leave", backend="local")
    env.from_batch([1]).map(leave, on_error=skip()).collect()
    with pytest.raises((JobFailedError, KeyboardInterrupt)):
        env.submit(autostop=True)
    assert env.get_job_status()["status"] == "failed"


@pytest.mark.parametrize("policy", [skip(), dead_letter(), retry(3, backoff=0, then=skip())], ids=str)
def test_leaving_the_debugger_ends_the_job_under_any_policy(policy: ErrorPolicy) -> None:
    """`q` in pdb raises an exception out of the function, but no record is at fault, and none is tried again."""
    calls: list[int] = []

    def quit_at_two(value: int) -> int:
        calls.append(value)
        if value == 2:
            raise bdb.BdbQuit
        return value

    env = LocalEnvironment(backend="inline")
    stream = env.from_batch([1, 2, 3]).map(quit_at_two, on_error=policy)
    (stream if policy.then == "skip" else stream.union(stream.dead_letters)).sink(str)
    with pytest.raises(JobFailedError, match="BdbQuit"):
        env.submit()
    assert calls == [1, 2]


def test_dead_letters_in_a_file_can_be_played_again(tmp_path: Path) -> None:
    """Two subtasks append to one file; what is read from it is what had failed."""
    path = tmp_path / "dead.jsonl"
    env = LocalEnvironment("file")
    results = env.from_batch(range(100)).map(odd, on_error=dead_letter(path), parallelism=2).collect()
    env.submit(autostop=True)
    assert sorted(results) == list(range(0, 100, 2))
    assert sorted(letter.record for letter in read_dead_letters(path)) == list(range(1, 100, 2))
    line = json.loads(path.read_text().splitlines()[0])
    assert line["error_type"] == "ValueError" and line["record"] and line["uid"] == "map:odd"
    again = LocalEnvironment("again")
    mended = again.from_batch(lambda: (letter.record + 1 for letter in read_dead_letters(path))).map(odd).collect()
    again.submit(autostop=True)
    assert sorted(mended) == list(range(2, 101, 2))


def test_the_side_output_of_a_failing_call_is_withheld() -> None:
    """What a call put out on the side before it raised is not released."""

    class Both(MapFunction):
        def execute(self, value: int) -> int:
            self.context.side_output("seen", value)
            return odd(value)

    env = LocalEnvironment("side", backend="inline")
    stream = env.from_batch(range(4)).map(Both, on_error=skip())
    seen, results = stream.side_output("seen").collect(), stream.collect()
    env.submit(autostop=True)
    assert (seen, results) == ([0, 2], [0, 2])


def test_a_cancelled_job_does_not_wait_for_the_next_retry() -> None:
    """A task between two retries ends when it is told to."""
    tried = threading.Event()

    def never(value: int) -> int:
        tried.set()
        raise OSError("not reachable")

    env = LocalEnvironment("cancel")
    env.from_batch([1]).map(never, on_error=retry(5, backoff=3600)).collect()
    job = env.submit()
    assert tried.wait(30)
    job.stop()
    assert job.wait(30)["status"] == "cancelled"


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (retry(-1), "times must be a whole number"),
        (retry(1, backoff=-1), "backoff must be"),
        (skip(at_most=-1), "at_most must be"),
        (skip(at_most=True), "at_most must be"),
        (skip(ratio=True), "ratio must be"),
        (skip(ratio=float("nan")), "ratio must be"),
        (retry(1, backoff=True), "backoff must be"),
        (retry(1, backoff=float("nan")), "backoff must be"),
        (skip(ratio=2), "ratio must be"),
        ("skip", "on_error takes"),
        (skip, r"on_error takes .* not the function skip: call it, skip\(\)"),
        (retry("3", then=skip()), "times must be a whole number from 0, not '3'"),  # type: ignore[arg-type]
        (retry(3, then=skip), r"then=….* takes .* not the function skip: call it, skip\(\)"),  # type: ignore[arg-type]
        (retry(3, then=2), "then=….* takes .* not 2"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_means_nothing_is_refused_at_submit(policy: Any, message: str) -> None:
    """The problem names the operator and what is wrong."""
    env = LocalEnvironment("wrong")
    env.from_batch([1]).map(odd, on_error=policy).collect()
    with pytest.raises(GraphError, match=message):
        env.submit()


def test_a_source_has_no_record_to_send_and_an_iterable_no_next_call() -> None:
    """Both are told before anything runs."""

    class Once(BatchFunction):
        def execute(self) -> None:
            return None

    env = LocalEnvironment("wrong")
    env.from_batch([1], on_error=skip()).collect()
    env.from_batch(Once, on_error=dead_letter()).collect()
    with pytest.raises(GraphError) as caught:
        env.submit()
    assert "no record to send" in str(caught.value) and "has ended" in str(caught.value)


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("neither")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_truth_of_a_filters_answer_belongs_to_the_call(backend: str) -> None:
    """An answer that is neither true nor false, as an array is, is a failure of the filter like any other."""
    env = LocalEnvironment("truth", backend)
    kept = env.from_batch([1, 2, 3]).filter(lambda x: NoTruth() if x == 2 else x, on_error=dead_letter())
    records, letters = kept.collect(), kept.dead_letters.map(lambda letter: letter.record).collect()
    env.submit(autostop=True)
    assert (records, letters) == ([1, 3], [2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_of_dead_letters_is_there_from_the_start(backend: str, tmp_path: Path) -> None:
    """A path that leads nowhere fails the job before the first record; without dead letters the file is empty."""
    (tmp_path / "no").write_text("a file")
    seen: list[int] = []
    for operator in ("map", "sink"):
        env = LocalEnvironment("nowhere", backend)
        stream = env.from_batch([2, 4]).sink(seen.append).rebalance()
        built = getattr(stream, operator)(odd, name="it", on_error=dead_letter(tmp_path / "no" / "dead.jsonl"))
        built.sink(odd)
        with pytest.raises(JobFailedError, match=rf"{operator} 'it' failed in open\(\): FileExistsError.*/no'"):
            env.submit(autostop=True)
    assert seen == []
    env = LocalEnvironment("none", backend)
    path = tmp_path / "made" / "anew" / "dead.jsonl"
    env.from_batch([2, 4]).sink(odd, on_error=dead_letter(path))
    env.submit(autostop=True)
    assert list(read_dead_letters(path)) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dead_letter_that_does_not_fit_fails_the_job(backend: str, tmp_path: Path) -> None:
    """What was written of it is taken back, so that those before it can be read, and later ones appended."""
    path = tmp_path / "dead.jsonl"

    def run(records: list[int]) -> None:
        env = LocalEnvironment("full", backend)
        env.from_batch(records).sink(odd, on_error=dead_letter(path))
        env.submit(autostop=True)

    run([1])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        with pytest.raises(JobFailedError, match=r"OSError: only 100 of .* bytes of a dead letter .*dead.jsonl"):
            run([3])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    run([5])
    assert [letter.record for letter in read_dead_letters(path)] == [1, 5]


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unpicklable:
    def __reduce__(self) -> str:
        raise MuteError


class Moved:
    """Cannot be read where its class is not."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dead_letter_that_cannot_be_pickled_or_read_says_so(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job goes on, the file keeps record's text and reason; reading names file, line and what to do."""
    path, nested = tmp_path / "dead.jsonl", []  # type: ignore[var-annotated]
    for _ in range(100_000):
        nested = [nested]
    records = [Moved(), Unpicklable(), nested, threading.Lock()]
    env = LocalEnvironment("unpicklable", backend)
    env.from_batch(lambda: iter(records)).map(odd_or_raise, on_error=dead_letter(path)).collect()
    env.submit(autostop=True)
    reasons = [json.loads(line)["not_pickled"] for line in path.read_text().splitlines()]
    assert reasons[0] is None
    assert reasons[1] == "MuteError: <its text raises RuntimeError>"
    assert reasons[2].startswith("RecursionError")
    assert "lock" in reasons[3]
    letters = read_dead_letters(path)
    assert type(next(letters).record) is Moved
    with pytest.raises(DeadLetterFileError, match=r"dead.jsonl, line 2: the record was not kept.*MuteError"):
        next(letters)
    monkeypatch.delitem(globals(), "Moved")
    with pytest.raises(DeadLetterFileError, match=r"dead.jsonl, line 1: the record cannot be unpickled.*Moved"):
        next(read_dead_letters(path))


def odd_or_raise(value: Any) -> int:
    raise ValueError("no number")


def test_fail_is_what_happens_without_a_policy() -> None:
    """`fail()` written out is the default."""
    assert fail() == ErrorPolicy()


def test_what_was_given_up_is_counted_and_listed(backend: str) -> None:
    """The metrics say how many per operator, and the newest failures with their records."""
    env = LocalEnvironment("counted", backend)
    source = env.from_batch(range(6))
    source.map(odd, on_error=skip(), uid="skips").collect()
    sends = source.map(odd, on_error=retry(2, backoff=0, then=dead_letter()), uid="sends", parallelism=2)
    sends.union(sends.dead_letters).collect()
    env.submit(autostop=True)
    job = env._job
    assert isinstance(job, LocalJob)
    metrics = job._coordinator.metrics()
    counts = {
        item.uid: (item.retried, item.skipped, item.dead_lettered, item.records_out) for item in metrics.operators
    }
    assert counts["skips"] == (0, 3, 0, 3)
    assert counts["sends"] == (6, 0, 3, 6)  # dead letters are put out, too
    assert sorted(item.record or "" for item in metrics.given_up if item.uid == "skips") == ["1", "3", "5"]
    assert len(metrics.given_up) == 6
    assert (job.status()["skipped"], job.status()["dead_lettered"]) == (3, 3)
    assert all(0 <= item.busy <= 1 and 0 <= item.backpressured <= 1 for item in metrics.operators)
