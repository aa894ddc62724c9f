"""``map_async``: a coroutine for each record, many of them at once."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.coroutines import LoopSignal, whereabouts
from sage.core.engine.event_time import to_seconds
from sage.core.engine.failures import trace_of, users_frames
from sage.core.engine.histogram import Histogram
from sage.core.engine.interrupt import GRACE, Interrupt
from sage.core.engine.operators.base import ENDED, IDLE, MORE, Emit, Flow, RunningOperator
from sage.core.engine.recovery import GIVEN_UP, Recovery, quits
from sage.core.errors import PipelineError, RecordTimeoutError
from sage.core.graph.model import Operator

__all__ = ["MapAsyncOperator"]

_MOST_THREADS = 128


class _Call:
    """One record on its way.

    Attributes:
        operator: whose it is.
        arrived: when its record did, by the clock.
        side: what its coroutine has put out on the side, each with its tag; None once that was released.
        done: whether its coroutine has ended: then there is a ``result``, or an ``error``.
    """

    __slots__ = ("arrived", "done", "error", "key", "operator", "record", "result", "side", "task", "time")

    task: asyncio.Task[None]

    def __init__(self, operator: MapAsyncOperator, record: Any, key: Any, time: int | None, arrived: float) -> None:
        self.operator = operator
        self.arrived = arrived
        self.record = record
        self.key = key
        self.time = time
        self.side: list[tuple[str, Any]] | None = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False

    def never_began(self, task: asyncio.Task[None]) -> None:
        """The user's code has cancelled the coroutine before its first step."""
        self.error = asyncio.CancelledError()
        self.operator.ended(self)


_current: ContextVar[_Call | None] = ContextVar("sage_call", default=None)
"""The call that a coroutine, and whatever it starts or runs on a thread, works for."""


class _CoroutineContext(RuntimeContext):
    """What many calls of one function share, while each sees the key of its own record."""

    __slots__ = ()

    @property
    def key(self) -> Any:
        """The key of the record in hand."""
        call = self._call()
        return None if call is None else call.key

    @key.setter
    def key(self, key: Any) -> None:
        """Each call brings its own."""

    @property
    def timestamp(self) -> float | None:
        """The event time of the record in hand."""
        call = self._call()
        return None if call is None or call.time is None else to_seconds(call.time)

    def side_output(self, tag: str, record: Any) -> None:
        call = self._call()
        if call is None:
            super().side_output(tag, record)
        elif call.side is None:
            raise PipelineError(
                f"side_output('{tag}', …) was called when the record's coroutine had ended: its outputs are released",
                hint="await what the coroutine starts before it returns",
            )
        else:
            call.side.append((tag, record))

    def _call(self) -> _Call | None:
        call = _current.get()
        return call if call is not None and call.operator.context is self else None


class MapAsyncOperator(RunningOperator):
    """One record in, one record out, as soon as its coroutine has ended; in the order of the records if so asked.

    At most ``concurrency`` coroutines run. In order, as many records again may have ended before an earlier one. The
    coroutines run on the task's own thread while the task waits, so that a function is used by one thread only.

    Attributes:
        ready: calls whose turn it is to be put out.
        arrived: when the records that are being taken in arrived.
        latency: of the records put out, from their arrival.
    """

    context_type = _CoroutineContext
    holds = True
    keeps_keyed_state = False

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self.ready: deque[_Call] = deque()  # of those held, which `room` bounds
        self.arrived = 0.0
        self.latency = Histogram()
        self._concurrency: int = spec.options["concurrency"]
        self._ordered: bool = spec.options["ordered"]
        self._timeout: float | None = spec.options["timeout"]
        self._held: dict[_Call, None] = {}  # all that are not put out yet, oldest first
        self._line: deque[_Call] = deque()  # the same in order, without those that are ready
        self._running = 0
        self._stopping = False
        self._loop = LoopSignal()
        self._side_by_side = False
        self._taken_back: deque[tuple[Any, ...]] = deque()  # no more than were in flight when it was saved
        self._once: Callable[[Any], Any] = self.execute

    def run_under(self, interrupt: Interrupt) -> None:
        super().run_under(interrupt)
        if isinstance(interrupt.signal, LoopSignal):
            self._loop, self._side_by_side = interrupt.signal, True
        else:
            interrupt.wakes(self._loop.set)

    def room(self) -> int:
        """How many records it can take in now; those that were in flight when it was saved are started before."""
        if self._taken_back:
            self._start_again()
        return 0 if self._taken_back else self._free

    @property
    def is_empty(self) -> bool:
        """Whether all that was taken in has been put out."""
        self.room()  # which starts what was in flight when it was saved
        return not self._held and not self._taken_back

    @property
    def _free(self) -> int:
        return min(self._concurrency - self._running, 2 * self._concurrency - len(self._held))

    def in_flight(self) -> list[tuple[Any, ...]]:
        if self.has_timed_input:
            held: list[tuple[Any, ...]] = [(call.record, call.key, call.time) for call in self._held]
        elif self.has_keyed_input:
            held = [(call.record, call.key) for call in self._held]
        else:
            held = [(call.record,) for call in self._held]
        return [*held, *self._taken_back]

    def lets_pass(self, watermark: int) -> int:
        held = [call.time for call in self._held if call.time is not None]
        held += [item[2] for item in self._taken_back if len(item) == 3 and item[2] is not None]
        return min(watermark, min(held) - 1) if held else watermark

    @property
    def rests(self) -> bool:
        return not self._held and not self._taken_back

    def take_back(self, items: list[tuple[Any, ...]]) -> None:
        self._taken_back.extend(items)

    @property
    def since(self) -> float | None:
        """When the code was entered that the task runs while it waits; None where it only waits."""
        return self._loop.since if self._side_by_side else None

    @property
    def busy(self) -> float:
        """Seconds that such code has taken."""
        return self._loop.busy if self._side_by_side else 0.0

    def waiting_at(self) -> str | None:
        """Where coroutines wait, for people; None if none does, or user code is running. Any thread may ask."""
        if self._loop.since is not None:
            return None
        running = [call for call in self._held.copy() if not call.done]
        where = whereabouts(running[0].task) if running else None
        if where is None:
            return None
        others = f", and {len(running) - 1} more coroutines" if len(running) > 1 else ""
        return f"{where}, in {self.spec.described}{others}"

    def open(self) -> None:
        name = f"sage-threads-{self.spec.name}-{self.context.subtask}"
        self._loop.open(name, min(self._concurrency, _MOST_THREADS), self.clock)
        self._once = self.execute if self._timeout is None else self._in_time
        super().open()

    def close(self) -> None:
        self._stopping = True
        tasks = [call.task for call in self._held if not call.done]
        try:
            if tasks:
                self._loop.end(tasks, GRACE)
        finally:
            try:
                super().close()
            finally:
                left = self._loop.close(GRACE)
        if left:
            where = whereabouts(left[0])
            raise RecordTimeoutError(
                f"{len(left)} coroutines of '{self.spec.name}' did not end within {GRACE:g} s of being cancelled"
                + ("" if where is None else f"; the first is at {where}"),
                hint="let CancelledError pass",
                operator=self.spec.name,
                seconds=GRACE,
            )

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        take = code.fast("take", self._start if self._side_by_side else self._run)
        code.call(f"{take}({flow.value}, {flow.key}, {flow.time})", self, flow.value)

    def generate_results(self, code: Code, ticks: str, emit: Emit, drain: Callable[[str | None], None]) -> None:
        """Write a loop that puts out a result for each of ``ticks``, and answers `MORE`, `IDLE` or `ENDED`."""
        ready, held = code.fast("ready", self.ready), code.fast("held", self._held)
        call, record, result = code.name("call"), code.name("record"), code.name("result")
        taken, count = code.counter("taken"), code.counter("mapped")
        with code.block(f"while {ready} and {taken} < len({ticks}):"):
            code.line(f"{taken} += 1")
            code.line(f"{call} = {ready}.popleft()")
            code.line(f"{record} = {call}.record")
            time = code.name("time") if self.has_timed_input else None
            if time is not None:
                code.line(f"{time} = {call}.time")
            code.call(f"{result} = {code.fast('settle', self._settle)}({call})", self, record)
            with code.block(f"if {result} is not {code.bind('GIVEN_UP', GIVEN_UP)}:"):
                code.line(f"{count} += 1")
                emit(Flow(result, count, time=time))
            drain(time)
        code.line(f"return {MORE} if {ready} else {IDLE} if {held} else {ENDED}")

    def _start_again(self) -> None:
        take = self._start if self._side_by_side else self._run
        while self._taken_back and self._free > 0 and self.goes_on():
            record, key, time = (*self._taken_back.popleft(), None, None)[:3]
            self.records_in += 1
            take(record, key, time)

    def _start(self, record: Any, key: Any, time: int | None) -> None:
        """Start the coroutine of a record."""
        call = _Call(self, record, key, time, self.arrived)
        self._held[call] = None
        if self._ordered:
            self._line.append(call)
        self._running += 1
        call.task = self._loop.start(self._attend(call), self.spec.name)
        call.task.add_done_callback(call.never_began)

    def _run(self, record: Any, key: Any, time: int | None) -> None:
        """Run the coroutine of a record to its end, unless the task is to end before."""
        self._start(record, key, time)
        while self._running and self.goes_on():
            self._loop.wait()

    async def _attend(self, call: _Call) -> None:
        """Call the function for a record, again if its policy says so. Never raises: what failed is in the call."""
        _current.set(call)
        call.task.remove_done_callback(call.never_began)
        try:
            call.result = await self._once(call.record)
        except BaseException as error:  # settled in the task's own turn
            call.error = error
            call.side = []
            if self.recovery is not None:
                await self._try_again(call, self.recovery)
        finally:
            self.ended(call)

    async def _try_again(self, call: _Call, recovery: Recovery) -> None:
        for backoff in recovery.backoffs():
            if call.error is None or self._is_final(call.error):
                return
            await asyncio.sleep(backoff)
            recovery.retried += 1
            try:
                call.error, call.result = None, await self._once(call.record)
            except BaseException as error:  # as above
                call.error = error
                call.side = []

    async def _in_time(self, record: Any) -> Any:
        assert self._timeout is not None
        scope = asyncio.timeout(self._timeout)
        try:
            async with scope:
                result = await self.execute(record)
        except BaseException as error:
            if scope.expired() and not self._stopping:
                cause = error.__cause__ if type(error) is TimeoutError and error.__cause__ is not None else error
                raise self._too_late() from cause.with_traceback(users_frames(trace_of(cause)))
            raise
        if scope.expired():  # it took no notice of being cancelled, and came to a result too late
            raise self._too_late()
        return result

    def _too_late(self) -> RecordTimeoutError:
        return RecordTimeoutError(
            f"the coroutine of '{self.spec.name}' did not end within {self._timeout:g} s",
            hint="give it longer by timeout=…, or say by on_error=… what becomes of such records",
            operator=self.spec.name,
            seconds=self._timeout,
        )

    def ended(self, call: _Call) -> None:
        """The coroutine of a call has ended, however that came."""
        if self._stopping:
            return
        self._running -= 1
        call.done = True
        self._loop.stop()
        ready = self.ready
        if not self._ordered:
            ready.append(call)
            return
        if call.error is not None and self._fails_job(call.error):
            ready.append(call)  # the job fails: that need not wait for those before
        line = self._line
        while line and line[0].done:
            ready.append(line.popleft())

    def _settle(self, call: _Call) -> Any:
        """What comes of a call: its result, or `GIVEN_UP`; raises its error where the policy says so."""
        del self._held[call]
        self.latency.add(self.clock.now() - call.arrived)
        side, call.side = call.side, None
        error, call.error = call.error, None  # a traceback holds on to the call by its frames
        if error is None:
            for tag, record in side or ():
                self.context.side_output(tag, record)
            return call.result
        if self.recovery is None or self._is_final(error):
            raise error
        self.recovery.give_up(error, call.record)
        return GIVEN_UP

    def _fails_job(self, error: BaseException) -> bool:
        return self.spec.on_error.then == "fail" or self._is_final(error)

    def _is_final(self, error: BaseException) -> bool:
        """Whether no policy applies: that of the user's own `CancelledError` is that of any exception."""
        return self._stopping or quits(error) or not isinstance(error, Exception | asyncio.CancelledError)

    def _await_hook(self, answer: Any) -> None:
        if not inspect.iscoroutine(answer):
            return
        try:
            self._loop.complete(answer, lambda: not self._stopping and not self.goes_on())
        except asyncio.CancelledError:
            if self._stopping or self.goes_on():
                raise
