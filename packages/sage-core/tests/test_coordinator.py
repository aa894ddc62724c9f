"""The coordinator: states and their only moves, whatever a backend reports and in whatever order."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.backends.api import (
    Attempt,
    Command,
    Deployment,
    HostInfo,
    OperatorCounts,
    TaskCounts,
    TaskEvent,
    TaskId,
)
from sage.core.backends.local import LocalBackend
from sage.core.engine.coordinator import Coordinator
from sage.core.errors import GraphError, Problem
from sage.core.models import FailureInfo
from sage.core.plan.model import ExecutionPlan

LIMIT = 60.0
MOVES = {
    "created": {"starting", "cancelled"},
    "starting": {"running", "failing", "cancelling"},
    "running": {"completed", "failing", "cancelling"},
    "failing": {"failed"},
    "cancelling": {"cancelled"},
}


class Puppet:
    """A backend whose tasks do what the test says."""

    capabilities = frozenset({"threads", "unbounded"})

    def __init__(self) -> None:
        self.sent: list[tuple[TaskId, str]] = []
        self.cancelled: list[float] = []
        self.problems: list[Problem] = []
        self.at_deploy: Callable[[], None] = lambda: None
        self.report: Callable[[TaskEvent], None] = lambda event: None

    def check(self, plan: ExecutionPlan) -> list[Problem]:
        return self.problems

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        self.report = events
        self.at_deploy()
        return self

    def send(self, task: TaskId, command: Command) -> None:
        self.sent.append((task, command.kind))

    def placement(self) -> Mapping[TaskId, HostInfo]:
        return {TaskId(0, 0): HostInfo("here", 1)}

    def cancel(self, grace: float) -> None:
        self.cancelled.append(grace)

    def join(self, timeout: float | None) -> bool:
        return True


class Stage:
    """A job of three tasks on a puppet."""

    def __init__(self) -> None:
        env = LocalEnvironment("three")
        env.from_batch([1]).map(str).union(env.from_batch([2])).sink(print)
        self.moves: list[tuple[str, str | None, FailureInfo | None]] = []
        self.backend = Puppet()
        self.job = Coordinator(env._builder.build(), self.backend, Attempt("job", "three"), on_state=self._on_state)
        self.tasks = self.job.plan.tasks

    def _on_state(self, state: str, reason: str | None, failure: FailureInfo | None) -> None:
        self.moves.append((state, reason, failure))

    def say(self, task: TaskId, kind: Any, **more: Any) -> None:
        self.backend.report(TaskEvent(task, kind, **more))

    def all(self, kind: Any) -> None:
        for task in self.tasks:
            self.say(task, kind)

    @property
    def states(self) -> list[str]:
        return [state for state, _, _ in self.moves]

    @property
    def started(self) -> list[TaskId]:
        return [task for task, kind in self.backend.sent if kind == "start"]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def failure(text: str) -> FailureInfo:
    return FailureInfo("user_code", text, traceback=f"traceback of {text}")


def test_a_job_runs_when_all_are_ready_and_completes_when_all_have_finished(stage: Stage) -> None:
    """Tasks are told to start once, when the last is ready."""
    job = stage.job
    assert job.state == "created"
    job.start()
    assert len(stage.tasks) == 3
    for task in stage.tasks[:-1]:
        stage.say(task, "running")
    assert (job.state, stage.started) == ("starting", [])
    stage.say(stage.tasks[-1], "running")
    assert job.state == "running"
    assert sorted(stage.started) == sorted(stage.tasks)
    stage.all("finished")
    assert job.join(LIMIT)
    assert stage.states == ["starting", "running", "completed"]
    assert job.is_ended
    assert stage.backend.cancelled == []


def test_a_backend_that_cannot_run_a_plan_is_heard_before_anything_starts(stage: Stage) -> None:
    """Errors refuse the plan; warnings do not."""
    stage.backend.problems = [Problem("too hot"), Problem("rather warm", level="warning")]
    with pytest.raises(GraphError, match="too hot") as caught:
        stage.job.start()
    assert len(caught.value.problems) == 1
    assert stage.states == []
    stage.backend.problems = [Problem("rather warm", level="warning")]
    stage.job.start()
    assert stage.states == ["starting"]


def test_the_first_failure_ends_the_job_and_cancels_the_rest(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """`failing` carries the failure; `failed` follows when nothing runs any more; later failures are logged."""
    stage.job.start()
    stage.all("running")
    stage.say(stage.tasks[0], "failed", failure=failure("first"), error=ValueError("first"))
    assert stage.states[-1] == "failing"
    assert stage.backend.cancelled == [10.0]
    stage.say(stage.tasks[1], "failed", failure=failure("second"))
    assert not stage.job.is_ended
    stage.say(stage.tasks[2], "cancelled", failure=failure("third"))
    assert stage.states == ["starting", "running", "failing", "failed"]
    assert [item[2] for item in stage.moves[-2:]] == [failure("first")] * 2
    assert stage.moves[-2][1] == "first"
    assert isinstance(stage.job.error, ValueError)
    for text in ("second", "traceback of second", "while cancelling: third"):
        assert text in caplog.text


def test_a_task_that_fails_to_open_keeps_the_job_from_running(stage: Stage) -> None:
    """Nobody is told to start, even if the others are ready."""
    stage.job.start()
    for task in stage.tasks[1:]:
        stage.say(task, "running")
    stage.say(stage.tasks[0], "failed", failure=failure("open"))
    assert stage.started == []
    for task in stage.tasks[1:]:
        stage.say(task, "cancelled")
    assert stage.states == ["starting", "failing", "failed"]


def test_what_tasks_report_while_they_are_deployed_counts(stage: Stage) -> None:
    """A backend may report before `deploy` has returned."""
    stage.backend.at_deploy = lambda: stage.all("running")
    stage.job.start()
    assert stage.job.state == "running"
    assert sorted(stage.started) == sorted(stage.tasks)

    other = Stage()
    other.backend.at_deploy = lambda: other.say(other.tasks[0], "failed", failure=failure("at once"))
    other.job.start()
    assert other.job.state == "failing"
    assert other.backend.cancelled == [10.0]


def test_cancel_while_running(stage: Stage) -> None:
    """The backend gets the grace; a task that finished meanwhile does not make it a completed job."""
    stage.job.start()
    stage.all("running")
    stage.job.cancel(3)
    assert stage.backend.cancelled == [3]
    stage.job.cancel(4)
    assert stage.backend.cancelled == [3]
    stage.say(stage.tasks[0], "finished")
    stage.say(stage.tasks[1], "cancelled")
    stage.say(stage.tasks[2], "abandoned", where="f (x.py:1)")
    assert stage.states == ["starting", "running", "cancelling", "cancelled"]
    assert stage.moves[-1][1] == f"task {stage.tasks[2]} did not stop and was abandoned in f (x.py:1)"


def test_cancel_before_all_are_ready(stage: Stage) -> None:
    """Who becomes ready too late is not told to start."""
    stage.job.start()
    stage.job.cancel(1)
    stage.all("running")
    assert stage.started == []
    stage.all("cancelled")
    assert stage.states == ["starting", "cancelling", "cancelled"]


def test_cancel_while_being_deployed(stage: Stage) -> None:
    """The wish is kept until there is something to cancel."""
    stage.backend.at_deploy = lambda: stage.job.cancel(2)
    stage.job.start()
    assert stage.backend.cancelled == [2]
    stage.all("cancelled")
    assert stage.states == ["starting", "cancelling", "cancelled"]


def test_cancel_before_the_start(stage: Stage) -> None:
    """A job cancelled before it began never begins."""
    stage.job.cancel()
    assert stage.job.join(LIMIT)
    stage.job.start()
    assert stage.states == ["cancelled"]
    assert stage.backend.sent == []


def test_cancel_of_a_failing_or_ended_job_changes_nothing(stage: Stage) -> None:
    """Ends never change."""
    stage.job.start()
    stage.all("running")
    stage.say(stage.tasks[0], "failed", failure=failure("x"))
    stage.job.cancel()
    assert stage.job.state == "failing"
    for task in stage.tasks[1:]:
        stage.say(task, "finished")
    stage.job.cancel()
    assert stage.states[-1] == "failed"


def test_a_failure_while_cancelling_is_logged_and_the_job_ends_cancelled(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """What was asked for stays what happened."""
    stage.job.start()
    stage.all("running")
    stage.job.cancel()
    stage.say(stage.tasks[0], "failed", failure=failure("late"))
    for task in stage.tasks[1:]:
        stage.say(task, "cancelled")
    assert stage.states[-1] == "cancelled"
    assert stage.job.failure is None
    assert "late" in caplog.text


def test_a_backend_that_raises_fails_the_job(stage: Stage) -> None:
    """The failure is the backend's; nobody waits for ever."""

    def refuse() -> None:
        raise OSError("no room")

    stage.backend.at_deploy = refuse
    stage.job.start()
    assert stage.job.join(LIMIT)
    assert stage.states == ["starting", "failing", "failed"]
    assert stage.job.failure is not None
    assert stage.job.failure.kind == "backend"
    assert stage.job.failure.error_type == "OSError"
    assert "OSError: no room" in stage.job.failure.message
    assert "in refuse" in (stage.job.failure.traceback or "")
    assert stage.job.metrics().running_tasks == 0


def test_a_listener_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever listens badly is logged; the job takes its course."""

    def listen(*_: Any) -> None:
        raise RuntimeError("deaf")

    env = LocalEnvironment()
    env.from_batch([1]).sink(str)
    job = Coordinator(env._builder.build(), LocalBackend(), Attempt("job"), on_state=listen)
    job.start()
    assert job.join(LIMIT)
    assert job.state == "completed"
    assert "deaf" in caplog.text


def test_late_counts_do_not_replace_final_ones(stage: Stage) -> None:
    """A report that was under way when its task ended is out of date."""
    stage.job.start()
    stage.all("running")
    uid = stage.job.plan.graph.operators[0].uid
    task = stage.tasks[0]
    stage.say(task, "counts", counts=TaskCounts({uid: OperatorCounts(5, 5)}))
    assert stage.job.metrics().operators[0].records_out == 5
    stage.say(task, "finished", counts=TaskCounts({uid: OperatorCounts(9, 9)}))
    stage.say(task, "counts", counts=TaskCounts({uid: OperatorCounts(7, 7)}), where="late")
    assert stage.job.metrics().operators[0].records_out == 9
    assert stage.job.metrics().blocked == ()
    assert stage.job.metrics().running_tasks == 2


def test_metrics_ask_those_that_still_run(stage: Stage) -> None:
    """Ended tasks are not asked; counts of subtasks and edges are summed."""
    stage.job.start()
    stage.all("running")
    stage.say(stage.tasks[0], "finished")
    stage.backend.sent.clear()
    metrics = stage.job.metrics()
    assert [task for task, kind in stage.backend.sent if kind == "report"] == list(stage.tasks[1:])
    assert metrics.tasks == 3
    assert [edge.target for edge in metrics.edges] == ["sink:print"] * 2
    assert metrics.at is not None


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_join_says_whether_it_has_ended(stage: Stage, timeout: float) -> None:
    """With no time, or less than none, `join` only looks."""
    stage.job.start()
    assert not stage.job.join(timeout)
    stage.job.cancel()
    stage.all("cancelled")
    assert stage.job.join(timeout)


@pytest.mark.parametrize("timeout", [math.inf, 1e300, threading.TIMEOUT_MAX, None])
def test_join_may_have_all_the_time_in_the_world(timeout: float | None) -> None:
    """Times beyond what the system can count are for ever."""
    env = LocalEnvironment()
    env.from_batch([1]).sink(str)
    job = Coordinator(env._builder.build(), LocalBackend(), Attempt("job"))
    job.start()
    assert job.join(timeout)


def _race() -> Stage:
    """Every task reports how it ends, and somebody cancels, all at once."""
    stage = Stage()
    stage.job.start()
    go = threading.Barrier(len(stage.tasks) + 1)

    def cancel() -> None:
        go.wait(LIMIT)
        stage.job.cancel(1)

    def end(task: TaskId, kind: str) -> None:
        go.wait(LIMIT)
        stage.say(task, "running")
        stage.say(task, kind, failure=failure("x") if kind == "failed" else None)

    kinds = ["finished", "failed", "cancelled"]
    threads = [threading.Thread(target=end, args=pair) for pair in zip(stage.tasks, kinds, strict=True)]
    threads.append(threading.Thread(target=cancel))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    return stage


def test_many_threads_and_any_order_make_only_allowed_moves() -> None:
    """Reports and cancels from many threads at once: every move is one of the allowed, and one end is reached."""
    for _ in range(100):
        stage = _race()
        assert stage.job.join(LIMIT)
        for before, after in pairwise(["created", *stage.states]):
            assert after in MOVES[before]
        assert stage.states[-1] in {"failed", "cancelled"}


def test_what_was_written_is_published_once_nothing_can_fail_any_more(stage: Stage) -> None:
    """Tasks are told to commit when all that have not finished are prepared, once."""
    stage.job.start()
    stage.all("running")
    first, second, third = stage.tasks
    stage.say(first, "prepared")
    stage.say(second, "finished")
    assert "commit" not in {kind for _, kind in stage.backend.sent}
    stage.say(third, "prepared")
    assert sorted(task for task, kind in stage.backend.sent if kind == "commit") == sorted([first, third])
    stage.say(first, "finished")
    stage.say(third, "finished")
    assert [kind for _, kind in stage.backend.sent].count("commit") == 2
    assert stage.job.state == "completed"


@pytest.mark.parametrize("ending", ["failing", "cancelling"])
def test_nothing_is_published_by_a_job_that_does_not_complete(stage: Stage, ending: str) -> None:
    """Not even if all that is left is prepared."""
    stage.job.start()
    stage.all("running")
    stage.say(stage.tasks[0], "prepared")
    stage.say(stage.tasks[1], "prepared")
    if ending == "failing":
        stage.say(stage.tasks[2], "failed", failure=failure("oops"))
    else:
        stage.job.cancel()
        stage.say(stage.tasks[2], "prepared")
    assert stage.job.state == ending
    assert "commit" not in {kind for _, kind in stage.backend.sent}


def test_it_is_too_late_to_cancel_what_is_being_published(stage: Stage) -> None:
    """Some tasks may have published already: the others do, too, if they do not take too long."""
    stage.job.start()
    stage.all("running")
    stage.all("prepared")
    stage.job.cancel(grace=3.0)
    assert (stage.job.state, stage.backend.cancelled) == ("running", [3.0])
    stage.say(stage.tasks[0], "finished")
    stage.say(stage.tasks[1], "finished")
    stage.say(stage.tasks[2], "abandoned", where="commit (sink.py:3)")
    assert stage.job.state == "cancelled"
    assert "was abandoned in commit (sink.py:3)" in str(stage.moves[-1][1])
