"""Part of a pipeline, run step by step by the real engine, with what it puts out in one list."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from sage.core.api._failed import job_failed
from sage.core.api.datastream import DataStream
from sage.core.api.local_environment import LocalEnvironment
from sage.core.backends.api import Attempt, Deployment, TaskEvent
from sage.core.backends.inline import InlineBackend, InlineDeployment, InlineOptions
from sage.core.connectors.api import Later, StopType
from sage.core.engine.coordinator import Coordinator
from sage.core.engine.event_time import MAX_TIME
from sage.core.engine.failures import OperatorError, describe_failure
from sage.core.engine.links import Inbox, Link, LocalLink
from sage.core.engine.messages import Batch, EndOfInput, Message
from sage.core.engine.messages import Watermark as Mark
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.engine.valve import Valve
from sage.core.errors import WrongStateError
from sage.core.graph.policy import DEAD_LETTERS
from sage.core.graph.validate import sends_late, sends_letters
from sage.core.graph.windows import LATE
from sage.core.plan.model import ChannelId, ExecutionPlan
from sage.core.testing._script import is_record, is_timed, read_step, records_of, wrong_step
from sage.core.testing._steps import At, End, Fail, Forever, Idle, Input, Pause, Side, Watermark

__all__ = ["Harness", "Snapshot", "run_operator"]

_OUT = "harness: out"
_NAMES: Mapping[str | None, str] = {DEAD_LETTERS: "dead_letters"}
"""What side outputs are called that have a tag of SAGE's own."""


class Snapshot(dict[str, Sequence[OperatorSnapshot]]):
    """By uid, what each subtask of an operator has saved.

    Attributes:
        time: what the clock has shown then, in seconds; whoever goes on from it begins there.
    """

    def __init__(self, saved: Mapping[str, Sequence[OperatorSnapshot]], time: float) -> None:
        super().__init__(saved)
        self.time = time


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
        steps: records, or `At` for records with a time, `Watermark`, `Idle`, `Pause`, `Fail`, `End`, `Forever`; each
            may be wrapped in ``Input(1, …)`` for another input than the first. Inputs that have not ended after the
            last step end then, but for those with `Forever`.
        side_outputs: tags of those side outputs of the operator that are looked at, too. Its dead letters are anyway,
            as ``dead_letters``, and its late records, as ``late``.
        services: by name, what the operator's functions may call.

    Returns:
        records, as `At` where they have a time; where they do, `Watermark` and `Idle` among them, as they go on to
        what would follow; records of side outputs as `Side`.

    Raises:
        GraphError: the operator cannot run.
        JobFailedError: a function has raised; that is its cause.
        TypeError: ``steps`` are none, or one is given as its class.
    """
    if isinstance(steps, str | bytes) or not isinstance(steps, Iterable):
        raise TypeError(f"steps must be a list of records and steps, not {steps!r:.100}: put it into a list")
    inputs = [(step.number, step.step) if isinstance(step, Input) else (0, step) for step in steps]
    timed = {number for number, step in inputs if is_timed(step)}
    with Harness(operator, timed=timed, side_outputs=side_outputs, services=services) as harness:
        forever = set()
        for number, step in inputs:
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
        timed: which inputs have records with times: their numbers, or all, or none; by default all, if the first step
            is of that kind.
        side_outputs: tags of those side outputs that are looked at; dead letters and late records are anyway.
        services: by name, what the operator's functions may call.
        restored: what another harness has saved by `snapshot`, to go on from, also at another parallelism. The clock
            goes on from there, too.

    Attributes:
        inputs: how many streams it takes.
        outputs: all that was put out so far, as `run_operator` returns it.
    """

    def __init__(
        self,
        operator: Callable[..., DataStream[Any]],
        *,
        inputs: int | None = None,
        timed: bool | Collection[int] | None = None,
        side_outputs: Sequence[str] = (),
        services: Mapping[str, Any] | None = None,
        restored: Snapshot | None = None,
    ) -> None:
        self.inputs = _parameters(operator) if inputs is None else inputs
        self.outputs: list[Any] = []
        self._operator = operator
        self._timed = timed
        self._tags = tuple(side_outputs)
        self._services = dict(services or {})
        self._restored = Snapshot({}, 0.0) if restored is None else restored
        self._feeds = [_Feed(f"input {number}") for number in range(self.inputs)]
        self._out: dict[ChannelId, int] = {}  # the channels of its own outputs that have times
        self._valve = Valve(0)
        self._told = 0
        self._job: Coordinator | None = None
        self._backend = _Backend(self._note, self._restored.time)

    def open(self) -> Self:
        """Open the functions. Raises what `run_operator` does. Opening twice does nothing."""
        return self._open(timed=False)

    def _open(self, *, timed: bool) -> Self:
        """Open them, for steps with times if so and if nothing else was said."""
        if self._job is None:
            chosen = timed if self._timed is None else self._timed
            for number, feed in enumerate(self._feeds):
                feed.timed = number in chosen if isinstance(chosen, Collection) else chosen
            env = LocalEnvironment("harness")
            for name, service in self._services.items():
                env.register_service(name, service)
            sources = [env.from_connector(feed, name=feed.name, uid=feed.name) for feed in self._feeds]
            streams = [
                records_of(source, feed.name, timed=feed.timed)
                for source, feed in zip(sources, self._feeds, strict=True)
            ]
            result = self._operator(*streams)
            if not isinstance(result, DataStream):
                raise TypeError(
                    f"the operator under test must return the stream to look at, not {type(result).__name__}:"
                    " return what map, process, window(…).reduce and the like return"
                )
            aside = _side_outputs(env, result) | {tag: result.side_output(tag) for tag in self._tags}
            for tag, stream in [(None, result), *aside.items()]:
                stream.rebalance().sink(_pass, name="outputs", uid=_OUT if tag is None else f"{_OUT} {tag}")
            attempt = Attempt(env.env_uuid, "harness", restored=self._restored)
            self._job = job = Coordinator(env._builder.build(), self._backend, attempt)
            self._out = {id: number for number, id in enumerate(_timed_outputs(job.plan))}
            self._valve = Valve(len(self._out))
            job.start()
            self._look(job)
        return self

    def send(self, record: Any, *, time: float | datetime | None = None, input: int = 0) -> list[Any]:
        """Give a record to an input. Returns what was put out by this step, as do all others.

        Args:
            record: any value.
            time: its event time, in seconds since 1970 or with a time zone.
            input: to which input.

        Raises:
            TimestampError: the time is no such thing.
            WrongStateError: the input has ended, or takes records with times alone, or without.
            JobFailedError: a function has raised; that is its cause.
        """
        return self._feed(record if time is None else At(time, record), input)

    def watermark(self, time: float | datetime, *, input: int = 0) -> list[Any]:
        """Let event time have come to ``time`` on an input. Raises `TimestampError` if it is no time."""
        return self._feed(Watermark(time), input)

    def idle(self, *, input: int = 0) -> list[Any]:
        """Let nothing be expected on an input for now, so that its watermark is not waited for."""
        return self._feed(Idle(), input)

    def advance(self, seconds: float | timedelta) -> list[Any]:
        """Let time pass, with all that is due meanwhile done at its time.

        Raises:
            ValueError: it is no length of time, or below 0.
        """
        pause = Pause(seconds)
        job = self._running()
        self._backend.running.pass_time(pause.seconds)
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
        """Do what a step of `run_operator` says. Raises TypeError if it is given as its class."""
        wrong = wrong_step(step)
        if wrong is not None:
            raise TypeError(wrong)
        if isinstance(step, Pause):
            return self.advance(step.seconds)
        if isinstance(step, End):
            return self.end(input=input)
        return self._feed(step, input)

    def side_outputs(self, tag: str) -> list[Any]:
        """What was put out on a side output so far."""
        return [item.record for item in self.outputs if isinstance(item, Side) and item.tag == tag]

    @property
    def watermarks(self) -> list[float]:
        """The watermarks that were put out so far, in seconds."""
        return [item.time for item in self.outputs if isinstance(item, Watermark)]

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
        return Snapshot(saved, self._backend.running.now)

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
        feed = self._feeds[self._number(number)]
        self._open(timed=is_timed(step))
        job = self._running()
        if feed.timed and is_record(step):
            raise WrongStateError(
                f"{feed.name} takes records with times: {step!r:.100} has none", hint="send(…, time=…)"
            )
        if is_timed(step) and not feed.timed:
            raise WrongStateError(
                f"{feed.name} takes records without times: it was opened so", hint="Harness(…, timed=True)"
            )
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

    def _note(self, plan: ExecutionPlan, id: ChannelId, message: Message) -> None:
        """Something goes on to what would follow."""
        edge = plan.edges[id.edge]
        if isinstance(message, Batch):
            name = _NAMES.get(edge.tag, edge.tag)
            records = message.records if message.times is None else list(map(_at, message.times, message.records))
            self.outputs += records if name is None else [Side(name, record) for record in records]
        if id in self._out:
            self._note_time(self._out[id], message)

    def _note_time(self, channel: int, message: Message) -> None:
        """Event time may have moved, by one of the channels of the operator's own outputs."""
        valve = self._valve
        time, was_idle = valve.time, valve.idle
        if isinstance(message, EndOfInput):
            valve.end(channel)
        elif isinstance(message, Mark):
            valve.mark(channel, message.time, idle=message.idle)
        elif isinstance(message, Batch) and message.mark is not None:
            valve.mark(channel, message.mark)
        if time < valve.time < MAX_TIME:
            self.outputs.append(Watermark._found(valve.time))
        if valve.idle and not was_idle:
            self.outputs.append(Idle())


class _Feed:
    """A source, and its only reader: what the harness has been given, as soon as it is there."""

    bounded = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: deque[Any] = deque()
        self.timed = False
        self.ended = False

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def partitions(self) -> Sequence[str]:
        return (self.name,)

    def open(self, partition: str, position: object | None) -> Self:
        return self

    def read(self, n: int) -> list[Any] | StopType | Later:
        if not self.steps:
            return Later(0)
        step = self.steps.popleft()
        self.ended = isinstance(step, End)
        return read_step(step)

    def position(self) -> object:
        return None

    def wait(self, timeout: float) -> None:
        """Nothing comes while it is waited for: the harness gives it."""

    def close(self) -> None:
        """There is nothing to let go of."""


class _Backend(InlineBackend):
    """Runs as `inline` does, and notes what leaves by the channels to the sinks of the harness."""

    running: InlineDeployment

    def __init__(self, tell: Callable[[ExecutionPlan, ChannelId, Message], None], start: float) -> None:
        super().__init__(InlineOptions(clock="virtual"))
        self._tell = tell
        self._start = start

    def deploy(self, plan: ExecutionPlan, attempt: Attempt, events: Callable[[TaskEvent], None]) -> Deployment:
        def connect(id: ChannelId, inbox: Inbox) -> Link:
            link = LocalLink(inbox, None)
            is_out = plan.operators[plan.edges[id.edge].target].uid.startswith(_OUT)
            return _Tap(link, partial(self._tell, plan, id)) if is_out else link

        self.running = InlineDeployment(plan, attempt, events, self._options, connect, self._start)
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


def _side_outputs(env: LocalEnvironment, stream: DataStream[Any]) -> dict[str, DataStream[Any]]:
    """By tag, what the operators of a stream put out on the side without being asked to."""
    declared = env._builder.operators()
    found: dict[str, DataStream[Any]] = {}
    for tag, sends in ((DEAD_LETTERS, sends_letters), (LATE, sends_late)):
        senders = tuple(up for up in stream._upstream if up.tag is None and sends(declared[up.operator]))
        if senders:
            found[tag] = DataStream(env, senders).side_output(tag)
    return found


def _timed_outputs(plan: ExecutionPlan) -> list[ChannelId]:
    """The channels by which the operator's own outputs leave, where they have times."""
    channels = [channel for task in plan.tasks for channel in plan.channels_into(task)]
    edges = {edge.id for edge in plan.edges if edge.timed and plan.operators[edge.target].uid == _OUT}
    return [channel for channel in channels if channel.edge in edges]


def _at(time: int | None, record: Any) -> Any:
    """A record with its time; it has none that came by an input without times."""
    return record if time is None else At._found(time, record)


def _pass(record: Any) -> None:
    """Where records go that were looked at."""
