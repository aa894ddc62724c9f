"""A host runs tasks on threads: their life, credits, latency, cancelling, abandoning, and links to other hosts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.backends.api import Attempt, Command, TaskEvent
from sage.core.backends.local import LocalBackend
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.host import TaskHost
from sage.core.engine.life import TaskLife
from sage.core.engine.links import CREDITS
from sage.core.engine.output import BATCH_SIZE
from sage.core.engine.task import Task
from sage.core.engine.wiring import TaskSet
from sage.core.plan.model import TaskId
from sage.core.plan.planner import make_plan

LIMIT = 60.0
AT_MOST = 2 * (CREDITS + 3) * BATCH_SIZE
"""Records on their way to two subtasks that stand still. On each edge there are the batches of its credits, one in the
hands of the subtask, and before it one that is full and what the slice that filled it had beyond: less than another."""


def started(env: LocalEnvironment, backend: Any = None) -> Coordinator:
    job = Coordinator(env._builder.build(), backend or LocalBackend(), Attempt(env.env_uuid, env.name))
    job.start()
    return job


def completed(env: LocalEnvironment, backend: Any = None) -> Coordinator:
    job = started(env, backend)
    assert job.join(LIMIT)
    assert job.state == "completed", job.failure
    return job


def same(value: Any) -> Any:
    return value


class Gate:
    """A function that lets nothing through before it is opened, and says when it was reached."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, value: Any) -> Any:
        self.reached.set()
        assert self.opened.wait(LIMIT)
        return value


def test_records_wait_for_the_command_to_start() -> None:
    """Tasks that are ready report so, and read nothing before they are told."""
    read: list[int] = []
    env = LocalEnvironment()
    env.from_batch(lambda: map(read.append, range(3))).sink(same)
    plan = make_plan(env._builder.build())
    events: list[TaskEvent] = []
    ready = threading.Event()

    def listen(event: TaskEvent) -> None:
        events.append(event)
        ready.set()

    host = TaskHost(TaskSet(plan, plan.tasks), Attempt("job"), {}, listen)
    host.deploy()
    assert ready.wait(LIMIT)
    assert [event.kind for event in events] == ["running"]
    assert not host.join(0)
    assert read == []
    host.send(TaskId(0, 0), Command("start"))
    assert host.join(LIMIT)
    assert [event.kind for event in events] == ["running", "finished"]
    assert read == [0, 1, 2]
    host.send(TaskId(0, 0), Command("report"))  # a task that has ended ignores commands
    assert len(events) == 2


def test_a_slow_task_bounds_what_is_under_way() -> None:
    """While a sink takes its time, its producer stops: credits bound the batches that are read ahead."""
    read: list[int] = []
    gate = Gate()

    def source() -> Iterator[int]:
        for number in range(100_000):
            read.append(number)
            yield number

    out: list[int] = []
    env = LocalEnvironment()
    env.from_batch(source).keyby(same).map(gate, parallelism=2).sink(out.append)
    job = started(env)
    assert gate.reached.wait(LIMIT)
    quiet(read)
    assert len(read) <= AT_MOST
    gate.opened.set()
    assert job.join(LIMIT)
    assert job.state == "completed"
    assert len(out) == 100_000


def quiet(growing: list[Any]) -> None:
    """Return once a list has not grown for a while."""
    pause, before = threading.Event(), -1
    while before != len(growing):
        before = len(growing)
        pause.wait(0.3)


def test_a_record_does_not_wait_for_those_after_it() -> None:
    """What a slow operator has put out reaches the next task while it works on the rest of its batch."""
    arrived: list[int] = []
    first, gate = threading.Event(), Gate()

    def slow(value: int) -> int:
        return gate(value) if value == 3000 else value

    def sink(value: int) -> None:
        arrived.append(value)
        if value == 2999:
            first.set()

    env = LocalEnvironment()
    env.from_batch(range(5000)).keyby(same).map(slow, parallelism=2).sink(sink)
    one_task = LocalEnvironment()
    one_task.from_batch(range(5000)).map(slow).map(same, parallelism=2).sink(sink)
    for pipeline in (env, one_task):
        arrived.clear()
        first.clear()
        gate.opened.clear()
        job = started(pipeline)
        assert first.wait(LIMIT), "the record was held up by the one after it"
        gate.opened.set()
        assert job.join(LIMIT)
        assert Counter(arrived) == Counter(range(5000))


def test_what_is_held_back_to_the_end_does_not_wait_either() -> None:
    """The same holds for records that a final reduce emits."""
    first, gate = threading.Event(), Gate()

    def slow(value: int) -> int:
        return gate(value) if value == 50 else value

    env = LocalEnvironment()
    stream = env.from_batch(range(100)).keyby(same).reduce(lambda left, right: left, final=True).map(slow)
    stream.map(same, parallelism=2).sink(lambda value: first.set() if value == 49 else None)
    job = started(env)
    assert first.wait(LIMIT)
    gate.opened.set()
    assert job.join(LIMIT)


def test_what_is_held_back_to_the_end_is_bounded_on_its_way() -> None:
    """A final reduce of many keys stops for credits like any other producer."""
    passed: list[int] = []
    gate = Gate()

    def note(value: int) -> int:
        passed.append(value)
        return value

    env = LocalEnvironment()
    stream = env.from_batch(range(50_000)).keyby(same).reduce(lambda left, right: left, final=True).map(note)
    stream.keyby(same).map(gate, parallelism=2).sink(same)
    job = started(env)
    assert gate.reached.wait(LIMIT)
    quiet(passed)
    assert len(passed) <= AT_MOST
    gate.opened.set()
    assert job.join(LIMIT)
    assert len(passed) == 50_000


def test_cancel_while_the_end_is_emitted() -> None:
    """A job whose final reduce has more to emit stops between two records."""
    reached, passed = threading.Event(), []

    def note(value: int) -> None:
        passed.append(value)
        if len(passed) == 10:
            reached.set()
            assert stop.wait(LIMIT)

    stop = threading.Event()
    env = LocalEnvironment()
    env.from_batch(range(100_000)).keyby(same).reduce(lambda left, right: left, final=True).sink(note)
    job = started(env)
    assert reached.wait(LIMIT)
    job.cancel(LIMIT)
    stop.set()
    assert job.join(LIMIT)
    assert job.state == "cancelled"
    assert len(passed) < 100_000


def test_a_quiet_source_has_its_partial_batch_delivered() -> None:
    """What was read before a source fell silent arrives; nothing waits for a batch to fill."""
    answers: list[Any] = [1, 2, None]
    arrived, silent = threading.Event(), threading.Event()

    def source() -> Any:
        if answers:
            return answers.pop(0)
        silent.set()
        return None

    def sink(value: int) -> None:
        if value == 2:
            arrived.set()

    env = LocalEnvironment()
    env.from_source(source).keyby(same).map(same, parallelism=2).sink(
        lambda value: arrived.set() if value == 2 else None
    )
    job = started(env)
    assert arrived.wait(LIMIT)
    assert silent.wait(LIMIT)
    job.cancel()
    assert job.join(LIMIT)
    assert job.state == "cancelled"


@pytest.mark.parametrize("where", ["source", "map", "sink", "open", "close", "end"])
def test_a_task_that_does_not_return_is_abandoned_and_named(where: str) -> None:
    """Cancel is bounded by its grace; the reason names the task and the function it is in; `join` returns."""
    gate = Gate()
    job = started(_stuck(where, gate))
    assert gate.reached.wait(LIMIT)
    job.cancel(0.05)
    try:
        assert job.join(LIMIT)
        assert job.join()
        assert job.state == "cancelled"
    finally:
        gate.opened.set()
    assert job._abandoned
    reason = "; ".join(job._abandoned)  # of others, too, if they have not had the processor in the meantime
    assert "did not stop and was abandoned in wait (" in reason or "__call__" in reason
    operator = {"source": "source '<lambda>'", "map": "map 'Gate'", "open": "map 'Hooks'", "close": "map 'Hooks'"}
    named = operator.get(where, "sink 'Gate'")
    assert f", in {named} (test_host.py:" in reason


def _stuck(where: str, gate: Gate) -> LocalEnvironment:
    env = LocalEnvironment()
    if where == "source":
        env.from_source(lambda: gate(1)).sink(same)
    elif where == "map":
        env.from_batch([1]).map(gate).map(same, parallelism=2).sink(same)
    elif where == "sink":
        env.from_batch([1]).map(same, parallelism=2).sink(gate)
    elif where == "end":
        env.from_batch([1]).reduce(lambda left, right: left, final=True).sink(gate)
    else:
        Hooks.gate, Hooks.where = gate, where
        env.from_batch([1]).map(Hooks).sink(same)
    return env


class Hooks:
    gate: Gate
    where: str

    def open(self, context: object) -> None:
        if self.where == "open":
            self.gate(None)

    def execute(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        if self.where == "close":
            self.gate(None)


def test_a_failure_does_not_wait_for_ever_for_a_task_that_does_not_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job fails although another task is stuck; who waits without a limit is told."""
    monkeypatch.setattr("sage.core.engine.coordinator.GRACE", 0.05)
    gate = Gate()

    def fail(value: int) -> None:
        assert gate.reached.wait(LIMIT)
        raise ValueError(value)

    env = LocalEnvironment()
    source = env.from_batch([1])
    source.map(same, parallelism=2).sink(gate)
    source.map(same, parallelism=2).sink(fail)
    job = started(env)
    try:
        assert job.join()
        assert job.state == "failed"
        assert job.failure is not None
        assert job.failure.uid == "sink:fail"
    finally:
        gate.opened.set()


def test_what_an_abandoned_task_does_in_the_end_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A failure after the job was given up is logged; the state stays."""
    gate, failed = Gate(), threading.Event()

    def late(value: int) -> None:
        gate(value)
        failed.set()
        raise ValueError("too late")

    env = LocalEnvironment()
    env.from_batch([1]).sink(late)
    job = started(env)
    assert gate.reached.wait(LIMIT)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("sage-task")]
    job.cancel(0)
    assert job.join(LIMIT)
    gate.opened.set()
    assert failed.wait(LIMIT)
    for thread in threads:
        thread.join(LIMIT)
    assert job.state == "cancelled"
    assert job.failure is None
    assert "too late" in caplog.text


@pytest.mark.parametrize("where", ["sink", "open"])
def test_a_blocking_call_is_named_while_it_lasts(where: str) -> None:
    """The metrics say which task has not returned from which function for more than a second, and whose it is."""
    gate = Gate()
    job = started(_stuck(where, gate))
    assert gate.reached.wait(LIMIT)
    pause, blocked = threading.Event(), job.metrics().blocked
    while not blocked:
        pause.wait(0.05)
        blocked = job.metrics().blocked
    assert " has not returned from wait (" in blocked[0]
    assert (", in sink 'Gate'" if where == "sink" else ", in map 'Hooks'") in blocked[0]
    gate.opened.set()
    assert job.join(LIMIT)
    assert job.metrics().blocked == ()


def test_128_subtasks_run_and_share_the_keys() -> None:
    """The highest parallelism works; every key is in one subtask."""
    seen: dict[Any, set[int]] = {}
    lock = threading.Lock()

    class Where:
        def open(self, context: Any) -> None:
            self.context = context

        def execute(self, value: Any) -> Any:
            with lock:
                seen.setdefault(value, set()).add(self.context.subtask)
            return value

    out: list[Any] = []
    env = LocalEnvironment()
    env.from_batch([*range(1000)] * 2).keyby(same).map(Where, parallelism=128).sink(out.append)
    completed(env)
    assert Counter(out) == Counter([*range(1000)] * 2)
    assert all(len(subtasks) == 1 for subtasks in seen.values())
    assert len(set().union(*seen.values())) > 100


def test_when_the_system_gives_no_more_threads_the_job_fails_and_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is the backend's, and the threads that had been started are gone."""
    start, count = threading.Thread.start, 0

    def limited(thread: threading.Thread) -> None:
        nonlocal count
        if thread.name.startswith("sage-task"):
            count += 1
            if count == 4:
                assert both_opened.wait(LIMIT)
                raise RuntimeError("can't start new thread")
        start(thread)

    opened: list[int] = []
    closed: list[int] = []
    both_opened = threading.Event()

    class Closing:
        def open(self, context: object) -> None:
            opened.append(1)
            if len(opened) == 2:
                both_opened.set()

        def execute(self, value: Any) -> Any:
            return value

        def close(self) -> None:
            closed.append(1)

    env = LocalEnvironment()
    env.from_batch([1]).map(Closing, parallelism=5).sink(same)
    monkeypatch.setattr(threading.Thread, "start", limited)
    job = started(env)
    monkeypatch.undo()
    assert job.join(LIMIT)
    assert job.state == "failed"
    assert job.failure is not None
    assert job.failure.kind == "backend"
    assert "can't start new thread" in job.failure.message
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("sage-task", "sage-monitor"))]
    assert len(closed) == 2


def test_a_host_that_was_joined_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """`join` waits for the monitor, too, although the last task has ended before it."""
    gate, rescued, over = Gate(), threading.Event(), threading.Event()

    def rescue(task: Task) -> None:
        rescued.set()
        assert over.wait(LIMIT)
        over.clear()
        over.wait(0.2)  # what a call that takes its time does

    def listen(event: TaskEvent) -> None:
        if event.kind == "finished":
            over.set()

    monkeypatch.setattr(Task, "rescue", rescue)
    env = LocalEnvironment()
    env.from_batch([1]).sink(gate)
    plan = make_plan(env._builder.build())
    host = TaskHost(TaskSet(plan, plan.tasks), Attempt("monitored"), {}, listen)
    host.deploy()
    host.send(TaskId(0, 0), Command("start"))
    assert rescued.wait(LIMIT)
    gate.opened.set()
    assert host.join(LIMIT)
    assert not [thread for thread in threading.enumerate() if thread.name == "sage-monitor-monitore"]


@pytest.mark.parametrize("credits", [1, 3])
def test_hosts_joined_by_links_give_the_same_results(split_backend: Callable[..., Any], credits: int) -> None:
    """Links, `receive` and `on_take` carry a job across hosts, within the credits that each link has."""
    out: list[tuple[int, int]] = []
    env = LocalEnvironment()
    pairs = env.from_batch(range(20_000)).map(lambda value: (value % 7, 1), parallelism=3)
    pairs.keyby(lambda pair: pair[0]).reduce(
        lambda left, right: (left[0], left[1] + right[1]), final=True, parallelism=4
    ).sink(out.append)
    backend = split_backend(hosts=3, credits=credits)
    job = completed(env, backend)
    assert sorted(out) == sorted(Counter(value % 7 for value in range(20_000)).items())
    assert {info.name for info in job.placement().values()} == {"host 0", "host 1", "host 2"}
    assert backend.wires
    assert all(wire.most <= credits for wire in backend.wires.values())


def test_a_slow_task_on_another_host_stops_its_producer(split_backend: Callable[..., Any]) -> None:
    """Credits bound what is under way between hosts as well."""
    read: list[int] = []
    gate = Gate()

    def source() -> Iterator[int]:
        for number in range(100_000):
            read.append(number)
            yield number

    env = LocalEnvironment()
    env.from_batch(source).keyby(same).map(gate, parallelism=2).sink(same)
    job = started(env, split_backend(hosts=2, credits=2))
    assert gate.reached.wait(LIMIT)
    quiet(read)
    assert len(read) <= AT_MOST
    gate.opened.set()
    assert job.join(LIMIT)
    assert job.state == "completed"
    assert len(read) == 100_000


def test_a_failure_on_one_host_ends_the_others(split_backend: Callable[..., Any]) -> None:
    """The coordinator cancels what runs elsewhere; a host without tasks has nothing to end."""
    env = LocalEnvironment()
    env.from_source(lambda: None).map(same, parallelism=2).sink(same)
    env.from_batch([1]).sink(lambda value: 1 / 0)
    job = started(env, split_backend(hosts=9))
    assert job.join(LIMIT)
    assert job.state == "failed"
    assert job.failure is not None
    assert job.failure.error_type == "ZeroDivisionError"


def test_a_task_whose_thread_ends_without_a_word_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks in the engine itself, a job whose tasks are gone has ended."""

    def broken(life: TaskLife, error: BaseException) -> None:
        raise AssertionError("the engine has a bug")

    hooks: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooks.append(str(args.exc_value)))
    monkeypatch.setattr(TaskLife, "give_up", broken)
    env = LocalEnvironment()
    env.from_batch([1]).map(lambda value: value / 0).sink(same)
    job = started(env)
    assert job.join(LIMIT)
    assert job.state == "failed"
    assert job.failure is not None
    assert job.failure.message == "SAGE itself failed: task 0.0 ended without telling how"
    assert hooks == ["the engine has a bug"]
