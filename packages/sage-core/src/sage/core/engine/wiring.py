"""From a plan to tasks whose channels are connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sage.core.engine.chain import Chain, Hop, Way
from sage.core.engine.clock import WALL, Clock
from sage.core.engine.coroutines import LoopSignal
from sage.core.engine.events import Attempt
from sage.core.engine.histogram import Histogram
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.links import CREDITS, Inbox, Link, LocalLink, Signal
from sage.core.engine.operators.aggregate import AggregateOperator
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.operators.comap import CoMapOperator
from sage.core.engine.operators.connector_sink import ConnectorSinkOperator
from sage.core.engine.operators.connector_source import ConnectorSourceOperator
from sage.core.engine.operators.feedback import FeedbackOperator
from sage.core.engine.operators.filter import FilterOperator
from sage.core.engine.operators.flatmap import FlatMapOperator
from sage.core.engine.operators.interval_join import IntervalJoinOperator
from sage.core.engine.operators.join import JoinOperator
from sage.core.engine.operators.keyby import KeyByOperator
from sage.core.engine.operators.lookup import LookupOperator
from sage.core.engine.operators.lookup_async import LookupAsyncOperator
from sage.core.engine.operators.map import FilterMapOperator, MapOperator
from sage.core.engine.operators.map_async import MapAsyncOperator
from sage.core.engine.operators.map_batches import MapBatchesOperator
from sage.core.engine.operators.process import CoProcessOperator, ProcessOperator
from sage.core.engine.operators.reduce import ReduceOperator
from sage.core.engine.operators.sink import SinkOperator
from sage.core.engine.operators.source import BatchOperator, CollectionOperator, StreamSourceOperator
from sage.core.engine.operators.timestamps import TimestampsOperator
from sage.core.engine.operators.windows.choice import WindowOperator
from sage.core.engine.operators.windows.joining import CoGroupOperator, WindowJoinOperator
from sage.core.engine.output import BATCH_SIZE, Output
from sage.core.engine.pace import Pace
from sage.core.engine.partitions import share_of
from sage.core.engine.rounds import Head, LoopPart, Rounds
from sage.core.engine.services import ServiceRegistry
from sage.core.engine.spill import Backlog, SpillingInbox
from sage.core.engine.task import Task
from sage.core.graph.timed import has_time
from sage.core.plan.model import ChannelId, ExecutionPlan, PlanEdge, TaskId

__all__ = ["TaskSet", "Wiring", "wire"]

_KINDS: Mapping[str, type[RunningOperator]] = {
    "batch": BatchOperator,
    "collection": CollectionOperator,
    "source": StreamSourceOperator,
    "read": ConnectorSourceOperator,
    "feedback": FeedbackOperator,
    "map": MapOperator,
    "filter_map": FilterMapOperator,
    "map_async": MapAsyncOperator,
    "map_batches": MapBatchesOperator,
    "comap": CoMapOperator,
    "join": JoinOperator,
    "interval_join": IntervalJoinOperator,
    "lookup": LookupOperator,
    "lookup_async": LookupAsyncOperator,
    "filter": FilterOperator,
    "flatmap": FlatMapOperator,
    "keyby": KeyByOperator,
    "reduce": ReduceOperator,
    "aggregate": AggregateOperator,
    "timestamps": TimestampsOperator,
    "process": ProcessOperator,
    "coprocess": CoProcessOperator,
    "window_join": WindowJoinOperator,
    "co_group": CoGroupOperator,
    "window_reduce": WindowOperator,
    "window_aggregate": WindowOperator,
    "window_process": WindowOperator,
    "sink": SinkOperator,
    "write": ConnectorSinkOperator,
}


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
    services = ServiceRegistry(plan.graph.services, attempt, users=len(tasks.ids))
    if signal is None:
        signals = {task: LoopSignal() if plan.awaits(task) else Signal() for task in tasks.ids}
    else:
        signals = {task: signal(task) for task in tasks.ids}
    inboxes: dict[ChannelId, Inbox] = {}
    backlogs = _backlogs(tasks, attempt)
    for task in tasks.ids:
        waits = {edge.id: Histogram() for edge in plan.edges if edge.target_stage == task.stage}
        for channel in plan.channels_into(task):
            room = backlogs.get(task)
            inboxes[channel] = (
                Inbox(signals[task].set, clock.now, channel.edge, waits[channel.edge])
                if room is None
                else SpillingInbox(room, signals[task].set, clock.now, channel.edge, waits[channel.edge])
            )

    def link(channel: ChannelId) -> Link:
        inbox = inboxes.get(channel)
        if inbox is None:
            return links[channel]
        most = None if plan.edges[channel.edge].back else credits
        return LocalLink(inbox, most) if connect is None else connect(channel, inbox)

    built = []
    for task in tasks.ids:
        built.append(
            _build_task(
                plan,
                task,
                attempt,
                signals[task],
                [(_way(plan.edges[channel.edge]), inboxes[channel]) for channel in plan.channels_into(task)],
                link,
                batch_size,
                services,
                clock,
                Pace(batch_size) if pace is None else pace(task),
                backlogs.get(task),
            )
        )
    return Wiring(tuple(built), inboxes, services)


def _build_task(
    plan: ExecutionPlan,
    task: TaskId,
    attempt: Attempt,
    signal: Signal,
    inputs: list[tuple[Way, Inbox]],
    link: Callable[[ChannelId], Link],
    batch_size: int,
    services: ServiceRegistry,
    clock: Clock,
    pace: Pace,
    backlog: Backlog | None,
) -> Task:
    stage = plan.stages[task.stage]
    interrupt = Interrupt(signal, clock)
    operators = {}
    for number in stage.operators:
        spec = plan.operators[number]
        partitions = attempt.partitions[spec.uid] if spec.is_partitioned else ()
        context = _KINDS[spec.kind].context_type(
            job=attempt.job,
            job_name=attempt.name,
            operator=spec.name,
            uid=spec.uid,
            subtask=task.subtask,
            parallelism=stage.parallelism,
            attempt=attempt.attempt,
            services=services,
            partitions=share_of(partitions, task.subtask, stage.parallelism),
        )
        operators[number] = _KINDS[spec.kind].class_for(spec)(spec, context)
        operators[number].run_under(interrupt)
        operators[number].limit_state(attempt.max_operator_state)
        operators[number].saved = attempt.restored.get(spec.uid, ())
        inputs_of = plan.graph.inputs_of(number)
        others = {edge.input for edge in inputs_of if edge.exchange != "broadcast"}
        operators[number].broadcast_inputs = frozenset(edge.input for edge in inputs_of) - others
    hops: dict[int, list[Hop]] = {number: [] for number in stage.operators}
    timed = has_time(plan.graph)
    for edge in plan.graph.edges:
        if edge.source in operators and edge.target in operators:
            keyed = edge.exchange == "hash"
            hop = Hop(operators[edge.target], keyed=keyed, timed=timed[edge.source], input=edge.input, tag=edge.tag)
            hops[edge.source].append(hop)
    outputs: dict[int, Output] = {}
    for crossing in plan.edges:
        if crossing.source_stage == stage.id:
            sending = [link(channel) for channel in plan.channels_out_of(crossing, task.subtask)]
            for end in sending:
                end.on_credit(signal.set)
            output = Output(
                crossing.exchange,
                sending,
                keyed=crossing.keyed,
                timed=crossing.timed,
                marked=not crossing.back,
                batch_size=batch_size,
            )
            outputs[crossing.id] = output
            hops[crossing.source].append(Hop(output, keyed=crossing.keyed, timed=crossing.timed, tag=crossing.tag))
    ways = dict.fromkeys(_way(edge) for edge in plan.edges if edge.target_stage == stage.id)
    chain = Chain(f"task {task} of {attempt.job}", list(operators.values()), hops, list(ways))
    return Task(
        task, chain, inputs, outputs, interrupt, pace, _part(plan, task, operators[stage.operators[0]], backlog)
    )


def _way(edge: PlanEdge) -> Way:
    return Way(edge.input, keyed=edge.keyed, timed=edge.timed)


def _backlogs(tasks: TaskSet, attempt: Attempt) -> Mapping[TaskId, Backlog]:
    """The room for what waits to go round again, by head."""
    folder = None if attempt.package is None else attempt.package.parent
    found = {}
    for task in tasks.ids:
        head = tasks.plan.operators[tasks.plan.stages[task.stage].operators[0]]
        if head.kind == "feedback":
            found[task] = Backlog(head.name, head.options["in_memory"], head.options["on_disk"], folder)
    return found


def _part(plan: ExecutionPlan, task: TaskId, first: RunningOperator, backlog: Backlog | None) -> LoopPart | None:
    """The part of a task in finding out whether its loop has drained; None if it is in none."""
    loop = plan.loop_of(task.stage)
    if loop is None:
        return None
    if isinstance(first, FeedbackOperator):
        first.backlog = backlog
    within = [plan.edges[channel.edge].source_stage in loop.stages for channel in plan.channels_into(task)]
    return LoopPart(
        loop.heads,
        Rounds(
            (number for number, inside in enumerate(within) if inside),
            (number for number, inside in enumerate(within) if not inside),
        ),
        tuple(edge.id for edge in plan.edges if edge.source_stage == task.stage and edge.target_stage in loop.stages),
        None if backlog is None else Head(len(loop.heads)),
        backlog,
        task.stage,
    )
