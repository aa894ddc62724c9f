"""A task: one subtask of a stage, as a machine that is stepped and never blocks.

It knows neither threads nor transports. Whoever runs it calls `step` until it says ``done`` and waits, when
it says ``wait``, for the task's signal. On threads each task has its own; the deterministic scheduler of the
``inline`` backend steps all of them in turn.

What is done in a step is told here. What it is done by has modules of its own: what comes in (`intake`), the slices in
which the chain processes it (`slices`), the way of event time (`passage`), what a loop needs (`loop_part`), and what
leaves (`outputs`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Literal

from sage.core.engine.chain import Chain
from sage.core.engine.crossing import unreadable
from sage.core.engine.events import TaskCounts
from sage.core.engine.failures import OperatorError
from sage.core.engine.histogram import Histogram
from sage.core.engine.intake import Intake
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.loop_part import LoopPart
from sage.core.engine.messages import Batch, Hold, Message, Probe, Unreadable, Watermark
from sage.core.engine.meter import TaskMeter
from sage.core.engine.metrics import counts_of_inputs
from sage.core.engine.operators.base import ENDED, IDLE, RunningOperator
from sage.core.engine.operators.source import SourceOperator
from sage.core.engine.operators.timed import TimedOperator
from sage.core.engine.outputs import Outputs
from sage.core.engine.pace import Pace
from sage.core.engine.passage import Passage
from sage.core.engine.restoring import take_snapshot
from sage.core.engine.slices import Slices
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.plan.model import TaskId

__all__ = ["Step", "Task"]

Step = Literal["again", "wait", "done"]

_FIRST_WAIT = 0.0001
_LONGEST_WAIT = 0.01


class Task:
    """One subtask.

    Args:
        id: which.
        chain: its operators.
        intake: what comes into it.
        outputs: what leaves it.
        interrupt: tells the task to end; its signal is woken by messages and credits, too; its clock is the task's.
        pace: how many records a step may take.
        loop: its part in its loop, if it is in one.

    Attributes:
        prepared: whether all input is processed, and what was written to connectors waits for `commit`.
        aligned: operators that assign times and wait for slower sources.
        patience: after ``wait``: seconds after which to step again even without a signal; infinite for never.
    """

    def __init__(
        self,
        id: TaskId,
        chain: Chain,
        intake: Intake,
        outputs: Outputs,
        interrupt: Interrupt,
        pace: Pace,
        loop: LoopPart | None = None,
    ) -> None:
        self.id = id
        self.chain = chain
        self.signal = interrupt.signal
        self.aligned = [clock for clock in chain.clocks if clock.is_aligned]
        self.patience = math.inf
        self.prepared = False
        self._source = chain.source
        self._awaiting = chain.awaiting
        self._intake = intake
        self._outputs = outputs
        self._interrupt = interrupt
        self._loop = loop
        self._meter = TaskMeter(interrupt.clock.now, self._awaiting.latency if self._awaiting else Histogram())
        self._slices = Slices(chain, interrupt, pace, self._meter)
        self._passage = Passage(chain, intake.ways, self._slices)
        self._runs: list[Callable[..., None]] = []  # by channel, what processes its batches
        self._expiring: list[RunningOperator] = []  # operators with state that does
        self._gave_way = True  # what is due comes before the next input, and that before what is due then
        self._idle_for = _FIRST_WAIT
        self._polls = True  # whether its source has to be asked again and again
        self._drained = False
        self._endings: deque[Callable[[list[int]], int]] | None = None  # from the end of input on
        self._ended = False
        self._may_commit = False

    def open(self) -> None:
        """Open the chain's operators. Raises `OperatorError`."""
        with self._meter.at_work():
            self.chain.open()
        self._slices.open()
        self._runs = [self.chain.runs[way] for way in self._intake.ways]
        self._expiring = [operator for operator in self.chain.operators if operator.states.expiries]

    def close(self) -> None:
        """Close the chain's operators. Raises `OperatorError`. Closing twice does nothing."""
        with self._meter.at_work():
            self.chain.close()

    def snapshot(self) -> dict[str, OperatorSnapshot]:
        """What its operators are to save, by uid. Called on the task's thread, between two batches.

        Raises:
            OperatorError: something cannot be saved.
        """
        found = {}
        for operator in self.chain.operators:
            with OperatorError.boundary(operator, "snapshot"):
                found[operator.spec.uid] = take_snapshot(operator)
        return found

    # The machine.

    def step(self) -> Step:
        """Do a bounded amount of work.

        Returns:
            ``again`` if there may be more to do at once, ``wait`` if not, ``done`` if there never will be.

        Raises:
            OperatorError: user code raised.
        """
        if self._interrupt.cancelled and not self._may_commit:
            return "done"
        if not self._meter.is_started:
            self._meter.start()
        if self._loop is not None:
            self._loop.attend()
        if self._ended:
            return self._deliver_end()
        if not self._outputs.are_free and not self._try_again():
            return self._wait(math.inf)
        if self._passage.under_way:
            self._passage.go_on()
            self._outputs.flush(partial=self._slices.is_slow or not self._intake.has_more)
            return "again"
        if self._endings is not None:
            return self._finish(self._endings)
        if self.chain.due and self._gave_way and self._do_what_is_due():
            self._gave_way = False
            return "again"
        self._gave_way = True
        if self._awaiting is not None and self._awaiting.ready:
            return self._put_out_results()
        for operator in self._expiring:
            operator.state_times.sweep()
        if self._loop is not None and self._loop.is_whole and not self._intake.has_part:
            return self._hand_on(self._loop)
        step = self._consume() if self._source is None else self._produce(self._source)
        return "again" if self._loop is not None and self._loop.has_news else step

    def _try_again(self) -> bool:
        """Send what waits for credits. Returns whether all of it has gone out, and the task may go on."""
        free = self._outputs.flush(partial=False)
        self._meter.blocked(not free)
        return free

    def _do_what_is_due(self) -> bool:
        """Let operators emit what has waited long enough. Returns whether there was any."""
        now = self._meter.now()
        late = [(operator, emit) for operator, emit in self.chain.due if operator.deadline <= now]
        for operator, emit in late:
            if emit is not None:
                self._slices.call(emit)
            elif isinstance(operator, TimedOperator):
                self._passage.fire(operator)
        if late:
            self._passage.look()
            self._outputs.flush(partial=True)
        return bool(late)

    def _put_out_results(self) -> Step:
        """Put out what coroutines have come to."""
        self._slices.call(self.chain.results, self._slices.ticks())
        self._passage.look()
        self._outputs.flush(partial=True)
        return "again"

    def _produce(self, source: SourceOperator) -> Step:
        """Let the source take a turn."""
        if self._drained:
            return self._end_input()
        if self.aligned and any(clock.is_ahead for clock in self.aligned):
            return self._wait_for_news()
        before = source.records_out
        answer = self._slices.call(self.chain.turn, self._slices.ticks())
        self._passage.look()
        self._outputs.flush(partial=True)
        if source.records_out > before:
            self._idle_for = _FIRST_WAIT
            self._meter.latency.add(self._meter.ended - self._meter.began, source.records_out - before)
        if answer == ENDED:
            return self._end_input()
        if answer != IDLE or self._passage.under_way:
            return "again"
        self._polls = source.not_before <= self._meter.now()
        if not self._polls:
            return self._wait(source.not_before - self._meter.now())
        patience, self._idle_for = self._idle_for, min(self._idle_for * 2, _LONGEST_WAIT)
        return self._wait(patience)

    def _consume(self) -> Step:
        """Take in what has come: of a batch as much as there is room for."""
        intake, limit = self._intake, self._slices.limit
        if self._awaiting is not None:
            limit = min(limit, self._awaiting.room())
            if limit <= 0:
                return self._wait_for_news()
        if not intake.has_part:
            message = intake.take()
            if message is None:
                return self._wait_for_news()
            if not isinstance(message, Batch):
                return self._obey(intake.channel, message)
        return self._process(limit)

    def _process(self, limit: int) -> Step:
        """Let the chain process at most ``limit`` records of the batch in hand."""
        intake, channel = self._intake, self._intake.channel
        records, keys, times, mark = intake.part(limit)
        ahead = self._slices.over(records)
        if self.cancelled:  # just now, so that nobody may have seen this slice
            return "again"
        if self._awaiting is not None:  # which notes when its records are done
            self._awaiting.arrived = intake.arrived
        self._slices.call(self._runs[channel], records, ahead, keys, times)
        if self._awaiting is None:
            self._meter.latency.add(self._meter.ended - intake.arrived, len(records))
        self._passage.look()
        if mark is not None:
            self._passage.mark(channel, mark)
        more = intake.has_more or bool(self._passage.under_way)
        free = self._outputs.flush(partial=self._slices.is_slow or not more)  # nothing more at hand: it may leave
        return self._wait(math.inf) if free and not more and self._awaiting is None else "again"

    def _obey(self, channel: int, message: Message) -> Step:
        """Take in what is no record."""
        if isinstance(message, Watermark):
            self._passage.mark(channel, message.time, idle=message.idle)
            self._outputs.flush(partial=not self._intake.has_more)
            return "again"
        if isinstance(message, Probe | Hold):
            assert self._loop is not None
            self._loop.take(channel, message)
            return "again"
        if isinstance(message, Unreadable):
            with OperatorError.boundary(self.chain.operators[0], "receive"):
                raise unreadable(message)
        return self._end_channel(channel)

    def _end_channel(self, channel: int) -> Step:
        """Nothing follows by a channel."""
        self._intake.open -= 1
        if self._loop is not None:
            self._loop.ended(channel)
        if not self._intake.open:
            return self._end_input()
        self._passage.end(channel)
        return "again"

    def _hand_on(self, loop: LoopPart) -> Step:
        """Hand on a probe that has come from all sides, once nothing is held back here that goes on by itself."""
        if self._awaiting is not None and not self._awaiting.is_empty:
            return self._wait_for_news()
        for _, emit in self.chain.due:
            if emit is not None:
                self._slices.call(emit)
        self._passage.look()
        if loop.lets_go():
            self._passage.end_time()
        if self._passage.under_way or self.cancelled:
            return "again"
        handled = sum(item.records_in + item.records_out for item in self.chain.operators)
        return "again" if loop.hand_on(handled) else self._end_input()

    def _end_input(self) -> Step:
        """Nothing follows at all."""
        self._endings = deque(self.chain.endings)
        self._expiring = []  # all of it goes soon
        return "again"

    def _finish(self, endings: deque[Callable[[list[int]], int]]) -> Step:
        """All input has been processed: emit what was held back, bit by bit, then close."""
        if endings:
            answer = self._slices.call(endings[0], self._slices.ticks())
            if answer == ENDED:
                endings.popleft()
            self._passage.look()
            self._outputs.flush(partial=self._slices.is_slow or self._awaiting is not None)
            if answer == IDLE:
                return self._wait(math.inf)
        else:
            self.chain.check_budgets(at_end=True)
            self.prepared = self.chain.prepare()
            if not self.prepared:
                self.close()
            self._ended = True
        return "again"

    def _deliver_end(self) -> Step:
        """Tell those who come after, and publish what was written once all others are done."""
        done = self._loop is None or self._loop.has_come_back()
        done = self._outputs.end() and done
        if not done or (self.prepared and not self._may_commit):
            return self._wait(math.inf)
        if self.prepared:
            self.chain.commit()
            self.prepared = False
            self.close()
        return "done"

    # Waiting.

    def _wait_for_news(self) -> Step:
        """Wait with nothing more at hand: what there is may leave."""
        self._outputs.flush(partial=True)
        return self._wait(math.inf)

    def _wait(self, patience: float) -> Step:
        """Wait at most so many seconds, and no longer than until something is due."""
        free = self._outputs.are_free
        if self.chain.due and free:
            deadline = min(operator.deadline for operator, _ in self.chain.due)
            patience = max(0.0, min(patience, deadline - self._meter.now()))
            if patience <= 0.0 and self._endings is None:  # at once, though by a virtual clock no time passes
                return "again"
        if self._expiring and free:
            patience = min(patience, *(operator.state_times.sweeps_in() for operator in self._expiring))
            if patience <= 0.0:  # at once, though by a virtual clock no time passes
                return "again"
        self.patience = patience
        return "wait"

    def idle(self) -> None:
        """Wait for news, at most `patience` seconds: in the source's own way if it has one."""
        if self.patience == math.inf and self._awaiting is None:  # the way of most, and the quickest
            self.signal.wait()
            return
        source, own = self._source, self.own_wait
        if source is not None and own is not None:
            self.chain.entered = source
            with OperatorError.boundary(source, "wait"):
                own(self.patience)
            self.chain.entered = None
        elif self._awaiting is not None:
            with OperatorError.boundary(self._awaiting, "execute"):  # what is no coroutine of a record may raise, too
                self.signal.wait(None if self.patience == math.inf else self.patience)
        else:
            self._interrupt.clock.wait(self.signal, self.patience)

    @property
    def own_wait(self) -> Callable[[float], None] | None:
        """How to wait, if it is for news of a source that has a way of its own."""
        source = self._source
        return source.wait if source is not None and self._polls and self.patience < math.inf else None

    # What others ask of it, from any thread.

    def commit(self) -> None:
        """Let a task that is `prepared` publish what it has written; any thread may call it."""
        self._may_commit = True
        self.signal.set()

    def cancel(self) -> None:
        """End the task at its next step; any thread may ask."""
        self._interrupt.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the task is to end at its next step. Once it may commit, it is too late for that."""
        return self._interrupt.cancelled and not self._may_commit

    def drain(self) -> None:
        """Let the input of a source end at the task's next step, whatever the source could still give."""
        self._drained = True
        self.signal.set()

    def align(self, time: int) -> None:
        """Do not run further ahead of ``time`` than allowed; any thread may ask."""
        for clock in self.aligned:
            clock.align(time)
        self.signal.set()

    def time_to_tell(self) -> int | None:
        """How far it has come, for other sources to wait for; None if there is no news."""
        news = [clock.has_news() for clock in self.aligned]
        return min(clock.told for clock in self.aligned) if any(news) else None

    def deliver(self) -> None:
        """Send what was collected before the task failed. Raises `OperatorError`."""
        self._outputs.deliver()

    def rescue(self) -> None:
        """Send what has gathered while user code does not return; any thread may ask."""
        self._outputs.rescue()

    def counts(self) -> TaskCounts:
        """What has been counted so far; any thread may ask."""
        awaiting = self._awaiting
        busy, backpressured = self._meter.shares(0.0 if awaiting is None else awaiting.busy, self.since)
        return TaskCounts(
            operators={item.spec.uid: item.counts() for item in self.chain.operators},
            edges=self._outputs.sent(),
            busy=busy,
            backpressured=backpressured,
            inputs=counts_of_inputs(self._intake.inboxes),
            latency=self._meter.latency.copy(),
            draining=None if self._loop is None else self._loop.draining,
        )

    @property
    def since(self) -> float | None:
        """When the user's code was entered that is running now (by the host's clock), None in between."""
        awaiting = self._awaiting
        return self._meter.since or (None if awaiting is None else awaiting.since)

    def running(self, frame: FrameType) -> RunningOperator | None:
        """The operator whose code runs in ``frame``, the innermost of the task's thread, if that is known."""
        operator: RunningOperator | None = self.chain.code.running(frame) or self.chain.entered
        awaiting = self._awaiting
        return awaiting if operator is None and awaiting is not None and awaiting.since is not None else operator

    def waiting_at(self) -> str | None:
        """Where coroutines of the user's wait, for people; None if none does. Any thread may ask."""
        return None if self._awaiting is None else self._awaiting.waiting_at()

    @property
    def waits_for(self) -> str:
        """What a task waits for after ``wait``, for people."""
        if self.prepared and self._ended:
            return "all others to be done, to publish what it has written"
        if self._ended and self._intake.open:
            return "the end of what comes back in its loop"
        if self._ended or not self._outputs.are_free:
            return "a credit to send its end" if self._ended else "a credit"
        if not self._meter.is_started:
            return "being opened and started"
        if any(clock.is_ahead for clock in self.aligned):
            return "slower sources, of which it is ahead by max_ahead"
        if self._source is not None:
            return "its source"
        within = "" if self._loop is None else self._loop.described
        return f"input, of which {self._intake.open} are open{within}"
