"""A task: one subtask of a stage, as a machine that is stepped and never blocks.

It knows neither threads nor transports. Whoever runs it calls `step` until it says ``done`` and waits, when
it says ``wait``, for the task's signal. On threads each task has its own; the deterministic scheduler of the
``inline`` backend steps all of them in turn.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import length_hint
from types import FrameType
from typing import Any, Literal

from sage.core.engine.chain import Chain, Way
from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.events import TaskCounts
from sage.core.engine.failures import OperatorError, count_failure, users_frames
from sage.core.engine.histogram import Histogram
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.links import Inbox
from sage.core.engine.messages import Batch, EndOfInput, Hold, Message, Probe, Watermark
from sage.core.engine.meter import TaskMeter
from sage.core.engine.metrics import counts_of_inputs
from sage.core.engine.operators.base import ENDED, IDLE, RunningOperator
from sage.core.engine.output import Output
from sage.core.engine.pace import Pace
from sage.core.engine.rounds import LoopPart
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.engine.state_size import StateLimit
from sage.core.engine.valve import Valve
from sage.core.plan.model import TaskId

__all__ = ["Step", "Task"]

Step = Literal["again", "wait", "done"]

_FIRST_WAIT = 0.0001
_LONGEST_WAIT = 0.01

_PASSED = object()


class Task:
    """One subtask.

    Args:
        id: which.
        chain: its operators.
        inputs: per upstream channel, the way by which its records reach the chain, and the inbox.
        outputs: by id of the plan's edge, one per edge that leaves the stage.
        interrupt: tells the task to end; its signal is woken by messages and credits, too; its clock is the task's.
        pace: how many records a step may take.
        loop: its part in finding out whether its loop has drained, if it is in one.

    Attributes:
        prepared: whether all input is processed, and what was written to connectors waits for `commit`.
        aligned: operators that assign times and wait for slower sources.
        patience: after ``wait``: seconds after which to step again even without a signal; infinite for never.
    """

    def __init__(
        self,
        id: TaskId,
        chain: Chain,
        inputs: Sequence[tuple[Way, Inbox]],
        outputs: Mapping[int, Output],
        interrupt: Interrupt,
        pace: Pace,
        loop: LoopPart | None = None,
    ) -> None:
        self.id = id
        self.chain = chain
        self._source = chain.source
        self._has_budgets = chain.has_budgets
        self._awaiting = chain.awaiting
        self._outputs = dict(outputs)
        self.signal = interrupt.signal
        self._interrupt = interrupt
        self._expiring: list[RunningOperator] = []  # operators with state that does
        self._limited: list[tuple[RunningOperator, StateLimit]] = []  # operators that keep something for keys
        self._meter = TaskMeter(interrupt.clock.now, self._awaiting.latency if self._awaiting else Histogram())
        self.patience = math.inf
        self._inputs = tuple(inputs)
        self._inboxes = tuple(inbox for _, inbox in inputs)
        self._pace = pace
        self._loop = loop
        self._open_inputs = len(self._inputs)
        self._next_input = 0
        self._channel = 0  # by which the batch in hand came
        timed = [number for number, (way, _) in enumerate(self._inputs) if way.timed]
        self._timed = {number: place for place, number in enumerate(timed)}
        self._valve = Valve(len(timed))
        self._passing: deque[Iterator[None]] = deque()  # watermarks on their way; no input is taken before they passed
        self.aligned = [clock for clock in chain.clocks if clock.is_aligned]
        self._keeps_time = bool(chain.clocks or chain.holders or chain.acting)
        self._let_pass = dict.fromkeys(chain.holders, (MIN_TIME, False))
        self._idle = dict.fromkeys(chain.holders, False)  # whether nothing is expected before them
        self._batch: Batch | None = None
        self._run: Callable[..., None] | None = None  # what processes the batch
        self._position = 0
        self._ticks: list[int] = []
        self._records: list[Any] = []  # in the slice that is running
        self._ahead = iter(self._records)
        interrupt.wakes(self._cut)
        self._free = True
        self._gave_way = True  # what is due comes before the next input, and that before what is due then
        self._slow = False
        self._drained = False
        self._endings: deque[Callable[[list[int]], int]] | None = None  # from the end of input on
        self._ended = False
        self.prepared = False
        self._may_commit = False
        self._idle_for = _FIRST_WAIT
        self._polls = True  # whether its source has to be asked again and again
        self._arrived = 0.0  # when the batch in hand was put into the inbox

    def open(self) -> None:
        """Open the chain's operators. Raises `OperatorError`."""
        with self._at_work():
            self.chain.open()
        self._expiring = [operator for operator in self.chain.operators if operator.states.expiries]
        self._limited = [(item, item.state_limit) for item in self.chain.operators if item.state_limit and item.keeps]

    def close(self) -> None:
        """Close the chain's operators. Raises `OperatorError`. Closing twice does nothing."""
        with self._at_work():
            self.chain.close()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Code of the user's runs in here, of which it can be told how long it takes."""
        self._meter.since = self._meter.now()
        try:
            yield
        finally:
            self._meter.since = None

    def counts(self) -> TaskCounts:
        """What has been counted so far; any thread may ask."""
        awaiting = self._awaiting
        busy, backpressured = self._meter.shares(0.0 if awaiting is None else awaiting.busy, self.since)
        return TaskCounts(
            operators={item.spec.uid: item.counts() for item in self.chain.operators},
            edges={edge: (output.sent, output.sent_batches) for edge, output in self._outputs.items()},
            busy=busy,
            backpressured=backpressured,
            inputs=counts_of_inputs(inbox for _, inbox in self._inputs),
            latency=self._meter.latency.copy(),
            draining=None if self._loop is None else self._loop.draining,
        )

    def snapshot(self) -> dict[str, OperatorSnapshot]:
        """What its operators are to save, by uid. Called on the task's thread, between two batches.

        Raises:
            OperatorError: something cannot be saved.
        """
        found = {}
        for operator in self.chain.operators:
            with OperatorError.boundary(operator, "snapshot"):
                found[operator.spec.uid] = operator.snapshot()
        return found

    def commit(self) -> None:
        """Let a task that is `prepared` publish what it has written; any thread may call it."""
        self._may_commit = True
        self.signal.set()

    def rescue(self) -> None:
        """Send what has gathered while user code does not return; any thread may ask."""
        for output in self._outputs.values():
            output.rescue()

    def cancel(self) -> None:
        """End the task at its next step; any thread may ask."""
        self._interrupt.cancel()

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
    def cancelled(self) -> bool:
        """Whether the task is to end at its next step. Once it may commit, it is too late for that."""
        return self._interrupt.cancelled and not self._may_commit

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
            self._attend(self._loop)
        if self._ended:
            return self._deliver_end()
        if not self._free:
            self._free = self._flush(partial=False)
            self._meter.blocked(not self._free)
            if not self._free:
                return self._wait(math.inf)
        if self._passing:
            self._pass_on()
            self._free = self._flush(partial=self._slow or not self._has_more())
            return "again"
        if self._endings is not None:
            return self._finish(self._endings)
        if self.chain.due and self._gave_way and self._do_what_is_due():
            self._gave_way = False
            return "again"
        self._gave_way = True
        if self._awaiting is not None and self._awaiting.ready:
            self._call(self.chain.results, self._slice())
            self._look_at_time()
            self._free = self._flush(partial=True)
            return "again"
        for operator in self._expiring:
            operator.sweep()
        if self._loop is not None and self._batch is None and self._loop.rounds.is_whole:
            return self._hand_on(self._loop)
        step = self._consume() if self._source is None else self._produce()
        return "again" if self._loop is not None and self._loop.has_news else step

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

    @property
    def waits_for(self) -> str:
        """What a task waits for after ``wait``, for people."""
        if self.prepared and self._ended:
            return "all others to be done, to publish what it has written"
        if self._ended and self._open_inputs:
            return "the end of what comes back in its loop"
        if self._ended or not self._free:
            return "a credit to send its end" if self._ended else "a credit"
        if not self._meter.is_started:
            return "being opened and started"
        if any(clock.is_ahead for clock in self.aligned):
            return "slower sources, of which it is ahead by max_ahead"
        if self.chain.source is not None:
            return "its source"
        within = "" if self._loop is None else self._loop.described
        return f"input, of which {self._open_inputs} are open{within}"

    def _attend(self, loop: LoopPart) -> None:
        """Begin the first round, and fail where something that goes round could not be kept."""
        with OperatorError.boundary(self.chain.operators[0], "execute"):
            loop.check()
        probe = loop.first()
        if probe is not None:
            for output in self._outputs.values():  # nobody waits for what comes back, which is as late as it is
                output.mark(MIN_TIME, idle=True)
            self._tell(loop, probe)
        hold = loop.hold()
        if hold is not None:
            self._tell(loop, hold)

    def _hand_on(self, loop: LoopPart) -> Step:
        """Hand on a probe that has come from all sides, once nothing is held back here that goes on by itself."""
        if self._awaiting is not None and not self._awaiting.is_empty:
            self._flush(partial=True)
            return self._wait(math.inf)
        for _, emit in self.chain.due:
            if emit is not None:
                self._call(emit)
        self._look_at_time()
        if loop.lets_go():
            for operator in self.chain.operators:
                operator.end_time()
            self._passing.extend(self._fire(operator) for operator in self.chain.acting)
        if self._passing or self.cancelled:
            return "again"
        probe = loop.hand_on(sum(item.records_in + item.records_out for item in self.chain.operators))
        if probe is None:
            return self._end_input()
        self._tell(loop, probe)
        return "again"

    def _tell(self, loop: LoopPart, message: Probe | Hold) -> None:
        for edge in loop.edges:
            self._outputs[edge].tell(message)
        self._free = self._flush(partial=True)

    def _do_what_is_due(self) -> bool:
        """Let operators emit what has waited long enough. Returns whether there was any."""
        now = self._meter.now()
        late = [(operator, do) for operator, do in self.chain.due if operator.deadline <= now]
        for operator, do in late:
            if do is None:
                self._passing.append(self._fire(operator))
            else:
                self._call(do)
        if late:
            self._look_at_time()
            self._free = self._flush(partial=True)
        return bool(late)

    def _look_at_time(self) -> None:
        """After records were processed: let time pass on from where it has moved, and do what has become due."""
        if not self._keeps_time:
            return
        for clock in self.chain.clocks:
            moved = clock.progress()
            if moved is not None:
                self._passing.append(self._let_time_pass(clock, *moved))
        for holder, before in self._let_pass.items():
            time = max(before[0], holder.lets_pass(holder.watermark))
            idle = self._idle[holder] and holder.rests
            if (time, idle) != before:
                self._let_pass[holder] = time, idle
                self._passing.append(self._let_time_pass(holder, time, idle))
        self._passing.extend(self._fire(operator) for operator in self.chain.acting if operator.is_due)
        if self._passing:
            self._pass_on()

    def _pass_on(self) -> None:
        """Go on with what is to be put out because it is time: at most a slice of it."""
        passing = self._passing
        while passing:
            if next(passing[0], _PASSED) is not _PASSED:
                return
            passing.popleft()
        self._look_at_time()  # what was put out may have moved it further

    def _let_time_pass(self, origin: RunningOperator | None, time: int, idle: bool = False) -> Iterator[None]:
        """Let ``time`` be the watermark behind ``origin``, or of the input for None; a step goes to where it yields."""
        for target in self.chain.path(origin):
            if isinstance(target, Output):
                target.mark(time, idle=idle)
            else:
                target.pass_time(time)
                if target in self._idle:
                    self._idle[target] = idle
                if target.acts_on_time and target.is_due:
                    yield from self._fire(target)

    def _fire(self, operator: RunningOperator) -> Iterator[None]:
        """Put out what is due at ``operator``, some in each step."""
        fire, due = self.chain.fires[operator], operator.firing()
        while self._call(fire, self._slice(), due) != ENDED:
            yield

    def _produce(self) -> Step:
        source = self._source
        assert source is not None
        if self._drained:
            return self._end_input()
        if self.aligned and any(clock.is_ahead for clock in self.aligned):
            self._flush(partial=True)
            return self._wait(math.inf)
        before = source.records_out
        answer = self._call(self.chain.turn, self._slice())
        self._look_at_time()
        self._free = self._flush(partial=True)
        if source.records_out > before:
            self._idle_for = _FIRST_WAIT
            self._meter.latency.add(self._meter.ended - self._meter.began, source.records_out - before)
        if answer == ENDED:
            return self._end_input()
        if answer != IDLE or self._passing:
            return "again"
        self._polls = source.not_before <= self._meter.now()
        if not self._polls:
            return self._wait(source.not_before - self._meter.now())
        patience, self._idle_for = self._idle_for, min(self._idle_for * 2, _LONGEST_WAIT)
        return self._wait(patience)

    def _consume(self) -> Step:
        limit = self._pace.limit
        if self._awaiting is not None:
            limit = min(limit, self._awaiting.room())
            if limit <= 0:
                self._flush(partial=True)
                return self._wait(math.inf)
        batch = self._batch
        if batch is None:
            channel, message = self._next_message()
            if message is None:
                self._flush(partial=True)  # nothing more at hand: what there is may leave
                return self._wait(math.inf)
            if not isinstance(message, Batch):
                return self._obey(channel, message)
            batch = self._batch = message
            self._channel = channel
            self._position = 0
            self._run = self.chain.runs[self._inputs[channel][0]]
        start, end = self._position, self._position + limit
        keys, times, count = batch.keys, batch.times, len(batch.records)
        # The slice is the task's own list: it is cut where the task is cancelled meanwhile.
        self._records = records = batch.records[start:end] if start or end < count else batch.records
        self._ahead = ahead = iter(records)
        if keys is not None and (start or end < count):
            keys = keys[start:end]
        if times is not None and (start or end < count):
            times = times[start:end]
        if self.cancelled:  # just now, so that nobody may have seen this slice
            return "again"
        self._position = end
        if end >= count:
            self._batch = None
        assert self._run is not None
        if self._awaiting is not None:  # which notes when its records are done
            self._awaiting.arrived = self._arrived
        self._call(self._run, records, ahead, keys, times)
        if self._awaiting is None:
            self._meter.latency.add(self._meter.ended - self._arrived, len(records))
        self._look_at_time()
        if self._batch is None and batch.mark is not None:
            self._mark(self._channel, batch.mark, idle=False)
        more = self._has_more() or bool(self._passing)
        self._free = self._flush(partial=self._slow or not more)  # nothing more at hand: what there is may leave
        return self._wait(math.inf) if self._free and not more and self._awaiting is None else "again"

    def _obey(self, channel: int, message: Message) -> Step:
        """Take in what is no record."""
        if isinstance(message, Watermark):
            self._mark(channel, message.time, idle=message.idle)
            self._free = self._flush(partial=not self._has_more())
            return "again"
        if isinstance(message, Probe):
            assert self._loop is not None
            self._loop.rounds.arrived(channel, message)
            return "again"
        if isinstance(message, Hold):
            assert self._loop is not None
            if self._loop.heard(message):
                self._tell(self._loop, message)
            return "again"
        self._open_inputs -= 1
        if self._loop is not None:
            self._loop.rounds.ended(channel)
        if not self._open_inputs:
            return self._end_input()
        if channel in self._timed and self._valve.end(self._timed[channel]):
            self._passing.append(self._let_time_pass(None, self._valve.time, self._valve.idle))
        return "again"

    def _mark(self, channel: int, time: int, *, idle: bool) -> None:
        """A watermark has come by a channel."""
        valve = self._valve
        if valve.mark(self._timed[channel], time, idle=idle):
            self._passing.append(self._let_time_pass(None, valve.time, valve.idle))
            self._pass_on()

    def _slice(self) -> list[int]:
        """What counts the records of a slice."""
        if len(self._ticks) != self._pace.limit:
            self._ticks = list(range(self._pace.limit))
        return [] if self.cancelled else self._ticks

    def _cut(self) -> None:
        """Let the slice that is running end with the record in hand; any thread may call it."""
        if not self._may_commit:
            records, ahead = self._records, self._ahead
            del records[len(records) - length_hint(ahead) :]
            self._ticks.clear()

    def _has_more(self) -> bool:
        """Whether there is input at hand."""
        return self._batch is not None or any(map(len, self._inboxes))

    def _next_message(self) -> tuple[int, Message | None]:
        """The oldest message of the next channel that has one, and which that is: channels take turns."""
        count = len(self._inputs)
        index = self._next_input
        for _ in range(count):
            channel, inbox = index, self._inboxes[index]
            if self._loop is not None and self._loop.keeps_out(channel):
                index = index + 1 if index + 1 < count else 0
                continue
            index = index + 1 if index + 1 < count else 0
            message = inbox.take()
            if message is not None:
                self._next_input = index
                self._arrived = inbox.arrived
                return channel, message
        return 0, None

    def _end_input(self) -> Step:
        self._endings = deque(self.chain.endings)
        self._expiring = []  # all of it goes soon
        return "again"

    def _finish(self, endings: deque[Callable[[list[int]], int]]) -> Step:
        """All input has been processed: emit what was held back, bit by bit, then close."""
        if endings:
            answer = self._call(endings[0], self._slice())
            if answer == ENDED:
                endings.popleft()
            self._look_at_time()
            self._free = self._flush(partial=self._slow or self._awaiting is not None)
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
        done = self._loop is None or self._loop.head is None or self._has_come_back()
        for output in self._outputs.values():
            done = output.end() and done
        if not done or (self.prepared and not self._may_commit):
            return self._wait(math.inf)
        if self.prepared:
            self.chain.commit()
            self.prepared = False
            self.close()
        return "done"

    def _has_come_back(self) -> bool:
        """Whether all that leads to this head of a loop has ended: from its own end on nothing else may come."""
        while self._open_inputs:
            _, message = self._next_message()
            if message is None:
                return False
            if isinstance(message, EndOfInput):
                self._open_inputs -= 1
            elif isinstance(message, Batch):
                assert self._loop is not None
                with OperatorError.boundary(self.chain.operators[0], "execute"):
                    raise self._loop.too_late()
        return True

    def _flush(self, *, partial: bool) -> bool:
        free = True
        for output in self._outputs.values():
            free = output.flush(partial=partial) and free
        return free

    def _wait(self, patience: float) -> Step:
        if self.chain.due and self._free:
            deadline = min(operator.deadline for operator, _ in self.chain.due)
            patience = max(0.0, min(patience, deadline - self._meter.now()))
            if patience <= 0.0 and self._endings is None:  # at once, though by a virtual clock no time passes
                return "again"
        if self._expiring and self._free:
            patience = min(patience, *(operator.sweeps_in() for operator in self._expiring))
            if patience <= 0.0:  # at once, though by a virtual clock no time passes
                return "again"
        self.patience = patience
        return "wait"

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the chain, and learn from the time it takes how much to take the next time.

        Raises:
            OperatorError: names operator and record; an error that no user code raised stays what it is.
        """
        meter = self._meter
        meter.since = meter.began = meter.now()
        try:
            answer = function(*args)
        except BaseException as error:
            site, record, trace = self.chain.code.locate(error)
            if site is None:
                raise
            count_failure(site.operator, error)
            trace, has_record = users_frames(trace), site.record is not None
            raise OperatorError(site.operator, "execute", error, trace, record=record, has_record=has_record) from error
        finally:
            meter.since = None
        meter.ended = meter.now()
        elapsed = meter.ended - meter.began
        meter.busy += elapsed
        self._slow = self._pace.after(elapsed)
        if self._has_budgets:
            self.chain.check_budgets()
        for operator, limit in self._limited:
            if limit.is_due(meter.ended):
                self._look_at(operator, limit)
        return answer

    def _look_at(self, operator: RunningOperator, limit: StateLimit) -> None:
        """See that an operator does not keep too much. Raises `OperatorError`."""
        now, worked = operator.clock.now, operator.clock.worked
        began = worked()
        with OperatorError.boundary(operator, "state"):
            limit.look(now())
        limit.looked(now(), worked() - began)
