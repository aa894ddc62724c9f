"""Part of a pipeline, run step by step by the real engine, with what it puts out in one list."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sage.core.api._failed import job_failed
from sage.core.api.datastream import DataStream
from sage.core.api.local_environment import LocalEnvironment
from sage.core.backends.api import Attempt, Deployment, TaskEvent
from sage.core.backends.inline import InlineBackend, InlineDeployment, InlineOptions
from sage.core.connectors.api import STOP, StopType
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.failures import OperatorError, describe_failure
from sage.core.engine.links import Inbox, Link, LocalLink
from sage.core.engine.messages import Batch, Message
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.errors import WrongStateError
from sage.core.graph.policy import DEAD_LETTERS
from sage.core.graph.validate import sends_letters
from sage.core.plan.model import ChannelId, ExecutionPlan
from sage.core.testing._steps import End, Fail, Forever, Input, Pause, Side

__all__ = ["Harness", "Snapshot", "run_operator"]

Snapshot = Mapping[str, Sequence[OperatorSnapshot]]
"""By uid, what each subtask of an operator has saved."""

_OUT = "harness: out"
_NAMES: Mapping[str | None, str] = {DEAD_LETTERS: "dead_letters"}
"""What side outputs are called that have a tag of SAGE's own."""


def run_operator(
    operator: Callable[..., DataStream[Any]],
    steps: Iterable[Any],
    *,
    side_outputs: Sequence[str] = (),
    services: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Give ``steps`` to an operator, one after the other, and tell what it puts out, in order.

    Args:
        operator: makes the stream to look at, of as many streams as it has parameters:
            ``lambda s: s.map(f)``, ``lambda a, b: a.connect(b).comap(f, g)``.
        steps: records, and `Pause`, `Fail`, `End`, `Forever`; each may be wrapped in ``Input(1, …)`` for another input
            than the first. Inputs that have not ended after the last step end then, but for those with `Forever`.
        side_outputs: tags of those side outputs of the operator that are looked at, too. Its dead letters are anyway,
            as ``dead_letters``.
        services: by name, what the operator's functions may call.

    Returns:
        records as they are, those of side outputs as `Side`.

    Raises:
        GraphError: the operator cannot run.
        JobFailedError: a function has raised; that is its cause.
    """
    with Harness(operator, side_outputs=side_outputs, services=services) as harness:
        forever = set()
        for step in steps:
            number, step = (step.number, step.step) if isinstance(step, Input) else (0, step)
            if isinstance(step, Forever):
                forever.add(number)
            else:
                harness.do(step, input=number)
        for number in range(harness.inputs):
            if number not in forever:
                harness.end(input=number)
        return harness.outputs


class Harness:
    """An operator, or several, to be given records one at a time; after each step all that comes of it is there.

    It is run by the engine as it always is, in the caller's thread, in virtual time. It opens with the first step, or
    by `open`. To be used in a ``with`` statement, or closed by `close`.

    Args:
        operator: as of `run_operator`.
        inputs: how many streams it takes; by default as many as it has parameters.
        side_outputs: tags of those side outputs that are looked at; dead letters are anyway.
        services: by name, what the operator's functions may call.
        restored: what another harness has saved by `snapshot`, to go on from, also at another parallelism.

    Attributes:
        inputs: how many streams it takes.
        outputs: all that was put out so far: records as they are, those of side outputs as `Side`.
    """

    def __init__(
        self,
        operator: Callable[..., DataStream[Any]],
        *,
        inputs: int | None = None,
        side_outputs: Sequence[str] = (),
        services: Mapping[str, Any] | None = None,
        restored: Snapshot | None = None,
    ) -> None:
        self.inputs = _parameters(operator) if inputs is None else inputs
        self.outputs: list[Any] = []
        self._operator = operator
        self._tags = tuple(side_outputs)
        self._services = dict(services or {})
        self._restored = restored or {}
        self._feeds = [_Feed(f"input {number}") for number in range(self.inputs)]
        self._told = 0
        self._job: Coordinator | None = None
        self._backend = _Backend(self._note)

    def open(self) -> Self:
        """Open the functions. Raises what `run_operator` does. Opening twice does nothing."""
        if self._job is None:
            env = LocalEnvironment("harness")
            for name, service in self._services.items():
                env.register_service(name, service)
            streams = [env.from_connector(feed, name=feed.name, uid=feed.name) for feed in self._feeds]
            result = self._operator(*streams)
            for tag in (None, *self._tags, *_side_outputs(env, result)):
                stream = result if tag is None else result.side_output(tag)
                stream.rebalance().sink(_pass, name="outputs", uid=_OUT if tag is None else f"{_OUT} {tag}")
            attempt = Attempt(env.env_uuid, "harness", restored=self._restored)
            self._job = Coordinator(env._builder.build(), self._backend, attempt)
            self._job.start()
            self._look(self._job)
        return self

    def send(self, record: Any, *, input: int = 0) -> list[Any]:
        """Give a record to an input. Returns what was put out by this step, as do all others."""
        return self._feed(record, input)

    def advance(self, seconds: float) -> list[Any]:
        """Let time pass, with all that is due meanwhile done at its time."""
        job = self._running()
        self._backend.running.pass_time(seconds)
        return self._look(job)

    def fail(self, error: BaseException, *, input: int = 0) -> list[Any]:
        """Let an input fail, and with it the job."""
        return self._feed(Fail(error), input)

    def end(self, *, input: int | None = None) -> list[Any]:
        """End an input, by default all of them. Ending one twice does nothing."""
        job = self._running()
        for number in range(self.inputs) if input is None else [self._number(input)]:
            self._feeds[number].steps.append(End())
            self._backend.running.settle()
        return self._look(job)

    def do(self, step: Any, *, input: int = 0) -> list[Any]:
        """Do what a step of `run_operator` says."""
        if isinstance(step, Pause):
            return self.advance(step.seconds)
        if isinstance(step, End):
            return self.end(input=input)
        return self.send(step, input=input)

    def side_outputs(self, tag: str) -> list[Any]:
        """What was put out on a side output so far."""
        return [item.record for item in self.outputs if isinstance(item, Side) and item.tag == tag]

    def snapshot(self) -> Snapshot:
        """What all subtasks have to save, for another harness to go on from.

        Raises:
            JobFailedError: something cannot be saved; that is its cause.
        """
        self._running()
        saved: dict[str, list[OperatorSnapshot]] = {}
        for task in self._backend.running.tasks:
            try:
                snapshots = task.snapshot()
            except OperatorError as error:
                failure = describe_failure(error, subtask=task.id.subtask)
                raise job_failed("harness", "harness", failure, error.cause) from error.cause
            for uid, snapshot in snapshots.items():
                saved.setdefault(uid, []).append(snapshot)
        return saved

    def close(self) -> None:
        """Close the functions, without ending the inputs. What that raises is logged. Closing twice does nothing."""
        job = self._job
        if job is not None and not job.is_ended:
            job.cancel()
            self._backend.running.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _feed(self, step: Any, number: int) -> list[Any]:
        job = self._running()
        feed = self._feeds[self._number(number)]
        if feed.ended:
            raise WrongStateError(f"{feed.name} has ended", hint="send what it is to take before it ends")
        feed.steps.append(step)
        self._backend.running.settle()
        return self._look(job)

    def _running(self) -> Coordinator:
        self.open()
        job = self._job
        assert job is not None
        if job.is_ended:
            raise WrongStateError(f"the harness has {job.state}: it takes nothing more", hint="make a new one")
        return job

    def _number(self, input: int) -> int:
        if not 0 <= input < self.inputs:
            raise IndexError(f"there is no input {input}: the operator has {self.inputs}, counted from 0")
        return input

    def _look(self, job: Coordinator) -> list[Any]:
        """What is new since the last look. Raises what a function has raised."""
        if job.state in ("failing", "failed"):
            self._backend.running.settle()
            raise job_failed("harness", "harness", job.failure, job.error) from job.error
        new, self._told = self.outputs[self._told :], len(self.outputs)
        return new

    def _note(self, tag: str | None, message: Message) -> None:
        if isinstance(message, Batch):
            name = _NAMES.get(tag, tag)
            self.outputs += message.records if name is None else [Side(name, record) for record in message.records]


class _Feed:
    """A source, and its only reader: what the harness has been given, as soon as it is there."""

    bounded = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: deque[Any] = deque()
        self.ended = False

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def partitions(self) -> Sequence[str]:
        return (self.name,)

    def open(self, partition: str, position: object | None) -> Self:
        return self

    def read(self, n: int) -> list[Any] | StopType | None:
        if not self.steps:
            return None
        step = self.steps.popleft()
        if isinstance(step, End):
            self.ended = True
            return STOP
        if isinstance(step, Fail):
            raise step.error
        return [step]

    def position(self) -> object:
        return None

    def wait(self, timeout: float) -> None:
        """Nothing comes while it is waited for: the harness gives it."""

    def close(self) -> None:
        """There is nothing to let go of."""


class _Backend(InlineBackend):
    """Runs as `inline` does, and notes what leaves by the channels to the sinks of the harness."""

    running: InlineDeployment

    def __init__(self, note: Callable[[str | None, Message], None]) -> None:
        super().__init__(InlineOptions(clock="virtual"))
        self._tell = note

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        def connect(id: ChannelId, inbox: Inbox) -> Link:
            edge, link = plan.edges[id.edge], LocalLink(inbox, None)
            is_out = plan.operators[edge.target].uid.startswith(_OUT)
            return _Tap(link, lambda message: self._tell(edge.tag, message)) if is_out else link

        self.running = InlineDeployment(plan, attempt, events, self._options, connect)
        return self.running


class _Tap:
    """A link that tells what it hands on."""

    def __init__(self, link: Link, tell: Callable[[Message], None]) -> None:
        self._link = link
        self._tell = tell
        self.on_credit = link.on_credit

    def offer(self, message: Message) -> bool:
        self._tell(message)
        return self._link.offer(message)  # never refused: there is no limit


def _parameters(operator: Callable[..., Any]) -> int:
    """How many streams it takes."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(operator).parameters.values()
    except (TypeError, ValueError):
        return 1
    taken = [item for item in parameters if item.kind in positional and item.default is inspect.Parameter.empty]
    return max(len(taken), 1)


def _side_outputs(env: LocalEnvironment, stream: DataStream[Any]) -> list[str]:
    """The tags that the operators of a stream use without being asked to."""
    operators = [env._builder.operators()[up.operator] for up in stream._upstream]
    return [DEAD_LETTERS] if any(sends_letters(operator) for operator in operators) else []


def _pass(record: Any) -> None:
    """Where records go that were looked at."""
