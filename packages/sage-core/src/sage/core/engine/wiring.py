"""From a plan to tasks whose channels are connected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sage.core.engine.chain import Chain
from sage.core.engine.clock import WALL, Clock
from sage.core.engine.crossing import CollectLink, Crossing
from sage.core.engine.events import Attempt, TaskEvent
from sage.core.engine.histogram import Histogram
from sage.core.engine.intake import Intake
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.kinds import operator_class
from sage.core.engine.links import CREDITS, Inbox, Link, LocalLink, Signal
from sage.core.engine.loop_part import LoopPart
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.operators.feedback import FeedbackOperator
from sage.core.engine.operators.sink import CollectOperator
from sage.core.engine.output import BATCH_SIZE, Output
from sage.core.engine.outputs import Outputs
from sage.core.engine.pace import Pace
from sage.core.engine.partitions import share_of
from sage.core.engine.rounds import Head, Rounds
from sage.core.engine.services import ServiceRegistry
from sage.core.engine.spill import Backlog, SpillingInbox
from sage.core.engine.task import Task
from sage.core.engine.ways import Hop, Way
from sage.core.graph.timed import has_time
from sage.core.plan.model import ChannelId, ExecutionPlan, PlanEdge, TaskId

__all__ = ["TaskSet", "Wiring", "wire"]


@dataclass(frozen=True)
class TaskSet:
    """The tasks of a plan that one host runs."""

    plan: ExecutionPlan
    ids: tuple[TaskId, ...]


@dataclass(frozen=True)
class Wiring:
    """Tasks, the inboxes of the channels that lead into them, and the services they call."""

    tasks: tuple[Task, ...]
    inboxes: Mapping[ChannelId, Inbox]
    services: ServiceRegistry


def wire(
    tasks: TaskSet,
    attempt: Attempt,
    links: Mapping[ChannelId, Link],
    events: Callable[[TaskEvent], None],
    *,
    signal: Callable[[TaskId], Signal] | None = None,
    batch_size: int = BATCH_SIZE,
    credits: int | None = CREDITS,
    clock: Clock = WALL,
    pace: Callable[[TaskId], Pace] | None = None,
    connect: Callable[[ChannelId, Inbox], Link] | None = None,
) -> Wiring:
    """Build the tasks and connect them: within this set directly, beyond it through ``links``.

    Args:
        tasks: which.
        attempt: of which deployment.
        links: the sending end of every channel that leaves this set.
        events: where to report what is collected.
        signal: gives each task its signal. Where that is a `LoopSignal`, coroutines run side by side while the task
            waits for it; else one at a time, each to its end. By default a task has a signal of its own, of the
            former kind if it awaits.
        batch_size: records in a full batch, and in one step of a task.
        credits: batches a channel within this set may hold; None for no limit.
        clock: of all tasks.
        pace: gives each task its pace; by default its largest slice is a full batch.
        connect: makes the channels within this set; by default those with `credits`.
    """
    plan = tasks.plan
    signals = {task: _signal(plan, task) if signal is None else signal(task) for task in tasks.ids}
    backlogs = _backlogs(tasks, attempt)
    inboxes: dict[ChannelId, Inbox] = {}
    for task in tasks.ids:
        inboxes |= _inboxes(plan, task, signals[task], clock, backlogs.get(task))

    def link(channel: ChannelId, sender: RunningOperator) -> Link:
        inbox = inboxes.get(channel)
        if inbox is None:
            return Crossing(links[channel], sender)
        most = None if plan.edges[channel.edge].back else credits
        return LocalLink(inbox, most) if connect is None else connect(channel, inbox)

    services = ServiceRegistry(plan.graph.services, attempt, users=len(tasks.ids))
    build = _TaskBuilder(plan, attempt, services, inboxes, link, events, batch_size)
    return Wiring(
        tuple(
            build.task(
                task,
                Interrupt(signals[task], clock),
                Pace(batch_size) if pace is None else pace(task),
                backlogs.get(task),
            )
            for task in tasks.ids
        ),
        inboxes,
        services,
    )


def _signal(plan: ExecutionPlan, task: TaskId) -> Signal:
    if not plan.awaits(task):
        return Signal()
    from sage.core.engine.coroutines import LoopSignal  # whoever has no coroutines need not wait for it

    return LoopSignal()


def _backlogs(tasks: TaskSet, attempt: Attempt) -> Mapping[TaskId, Backlog]:
    """The room for what waits to go round again, by head."""
    folder = None if attempt.package is None else attempt.package.parent
    found = {}
    for task in tasks.ids:
        head = tasks.plan.operators[tasks.plan.stages[task.stage].operators[0]]
        if head.kind == "feedback":
            found[task] = Backlog(head.name, head.options["in_memory"], head.options["on_disk"], folder)
    return found


def _inboxes(
    plan: ExecutionPlan, task: TaskId, signal: Signal, clock: Clock, backlog: Backlog | None
) -> dict[ChannelId, Inbox]:
    """The receiving ends of the channels into a task; those of a head share the room for what waits there."""
    waits = {edge.id: Histogram() for edge in plan.edges if edge.target_stage == task.stage}
    found: dict[ChannelId, Inbox] = {}
    for channel in plan.channels_into(task):
        if backlog is None:
            found[channel] = Inbox(signal.set, clock.now, channel.edge, waits[channel.edge])
        else:
            found[channel] = SpillingInbox(backlog, signal.set, clock.now, channel.edge, waits[channel.edge])
    return found


class _TaskBuilder:
    """Builds tasks, one by one.

    Args:
        plan: theirs.
        attempt: of which deployment.
        services: what they may call.
        inboxes: the receiving ends of all channels that lead into them.
        link: gives the sending end of a channel that leads out of one, for an operator that sends.
        events: where to report what is collected.
        batch_size: records in a full batch.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        attempt: Attempt,
        services: ServiceRegistry,
        inboxes: Mapping[ChannelId, Inbox],
        link: Callable[[ChannelId, RunningOperator], Link],
        events: Callable[[TaskEvent], None],
        batch_size: int,
    ) -> None:
        self._plan = plan
        self._attempt = attempt
        self._services = services
        self._inboxes = inboxes
        self._link = link
        self._events = events
        self._batch_size = batch_size
        self._timed = has_time(plan.graph)

    def task(self, id: TaskId, interrupt: Interrupt, pace: Pace, backlog: Backlog | None) -> Task:
        """A task; ``backlog`` is the room for what waits to go round again, if it is the head of a loop."""
        channels = tuple(self._plan.channels_into(id))
        intake = Intake([(_way(self._plan.edges[channel.edge]), self._inboxes[channel]) for channel in channels])
        operators = {number: self._operator(number, id, interrupt) for number in self._plan.stages[id.stage].operators}
        outputs = {
            edge.id: self._output(edge, id.subtask, operators[edge.source], interrupt.signal)
            for edge in self._plan.edges
            if edge.source_stage == id.stage
        }
        chain = self._chain(id, operators, outputs)
        leaving = Outputs(outputs, [self._collected(item, id) for item in _collecting(operators.values())])
        part = self._loop_part(id, chain.operators[0], intake, leaving, backlog)
        return Task(id, chain, intake, leaving, interrupt, pace, part)

    def _output(self, edge: PlanEdge, subtask: int, sender: RunningOperator, signal: Signal) -> Output:
        """The sending side of an edge at one subtask, which its credits are to wake."""
        links = [self._link(channel, sender) for channel in self._plan.channels_out_of(edge, subtask)]
        for link in links:
            link.on_credit(signal.set)
        return Output(
            edge.exchange,
            links,
            keyed=edge.keyed,
            timed=edge.timed,
            marked=not edge.back,
            batch_size=self._batch_size,
        )

    def _collected(self, sink: CollectOperator, task: TaskId) -> Output:
        """The way of what a sink collects to the coordinator."""
        sink.output = Output("forward", [CollectLink(task, sink, self._events)], batch_size=self._batch_size)
        return sink.output

    def _operator(self, number: int, task: TaskId, interrupt: Interrupt) -> RunningOperator:
        """An operator of the graph, to run in one subtask."""
        attempt, spec = self._attempt, self._plan.operators[number]
        parallelism = self._plan.stages[task.stage].parallelism
        partitions = attempt.partitions[spec.uid] if spec.is_partitioned else ()
        kind = operator_class(spec.kind)
        context = kind.context_type(
            job=attempt.job,
            job_name=attempt.name,
            operator=spec.name,
            uid=spec.uid,
            subtask=task.subtask,
            parallelism=parallelism,
            attempt=attempt.attempt,
            services=self._services,
            partitions=share_of(partitions, task.subtask, parallelism),
        )
        operator = kind.class_for(spec)(spec, context)
        operator.run_under(interrupt)
        operator.limit_state(attempt.max_operator_state)
        operator.saved = attempt.restored.get(spec.uid, ())
        inputs = self._plan.graph.inputs_of(number)
        others = {edge.input for edge in inputs if edge.exchange != "broadcast"}
        operator.broadcast_inputs = frozenset(edge.input for edge in inputs) - others
        return operator

    def _chain(self, task: TaskId, operators: Mapping[int, RunningOperator], outputs: Mapping[int, Output]) -> Chain:
        """The operators of a task, each connected to those that follow it, and to the outputs."""
        hops: dict[int, list[Hop]] = {number: [] for number in operators}
        for edge in self._plan.graph.edges:
            if edge.source in operators and edge.target in operators:
                keyed, timed = edge.exchange == "hash", self._timed[edge.source]
                hops[edge.source].append(Hop(operators[edge.target], keyed=keyed, timed=timed, tag=edge.tag))
        for number, output in outputs.items():
            crossing = self._plan.edges[number]
            hops[crossing.source].append(Hop(output, keyed=crossing.keyed, timed=crossing.timed, tag=crossing.tag))
        ways = dict.fromkeys(_way(edge) for edge in self._plan.edges if edge.target_stage == task.stage)
        return Chain(f"task {task} of {self._attempt.job}", list(operators.values()), hops, list(ways))

    def _loop_part(
        self, task: TaskId, first: RunningOperator, intake: Intake, outputs: Outputs, backlog: Backlog | None
    ) -> LoopPart | None:
        """The part of a task in its loop; None if it is in none."""
        plan = self._plan
        loop = plan.loop_of(task.stage)
        if loop is None:
            return None
        if isinstance(first, FeedbackOperator):
            first.backlog = backlog
        within = [plan.edges[channel.edge].source_stage in loop.stages for channel in plan.channels_into(task)]
        rounds = Rounds(
            inside=(number for number, inside in enumerate(within) if inside),
            outside=(number for number, inside in enumerate(within) if not inside),
        )
        return LoopPart(
            loop.heads,
            task.stage,
            first,
            rounds,
            intake,
            outputs,
            [edge.id for edge in plan.edges if edge.source_stage == task.stage and edge.target_stage in loop.stages],
            None if backlog is None else Head(len(loop.heads)),
            backlog,
        )


def _collecting(operators: Iterable[RunningOperator]) -> Iterator[CollectOperator]:
    return (operator for operator in operators if isinstance(operator, CollectOperator))


def _way(edge: PlanEdge) -> Way:
    return Way(edge.input, keyed=edge.keyed, timed=edge.timed)
