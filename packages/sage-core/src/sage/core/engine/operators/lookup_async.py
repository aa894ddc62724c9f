"""``lookup`` by a coroutine function: many records at once, and each question asked once at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import MISSING
from sage.core.engine.operators.lookup import NOT_FOUND, answers_of
from sage.core.engine.operators.map_async import MapAsyncOperator
from sage.core.engine.recovery import GIVEN_UP
from sage.core.graph.model import Operator, ServiceMethod

__all__ = ["LookupAsyncOperator"]


class LookupAsyncOperator(MapAsyncOperator):
    """A `MapAsyncOperator` whose coroutines share answers: those kept, and those that one of them waits for."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._answers = answers_of(self)
        self._caches = spec.options["cache_size"] > 0
        self._inner = spec.options["how"] == "inner"
        self._on = spec.function.on
        self._asked: dict[Any, asyncio.Future[Any]] = {}  # no more than there are coroutines
        self._ask: Callable[[Any], Awaitable[Any]] = self.execute

    def build(self) -> None:
        super().build()
        called = self.spec.function.target
        if isinstance(called, ServiceMethod):
            self._ask = getattr(self.context.call_service_async(called.service), called.method)
        else:
            self._ask = self.execute
        self.execute = self._look_up

    async def _look_up(self, record: Any) -> Any:
        asked = self._on(record)
        answer = await (self._ask_once(asked) if self._caches else self._ask(asked))
        return NOT_FOUND if answer is None and self._inner else (record, answer)

    async def _ask_once(self, asked: Any) -> Any:
        while (answer := self._answers.get(asked)) is MISSING:
            under_way = self._asked.get(asked)
            if under_way is None:
                return await self._ask_now(asked)
            # Shielded: who gives up waiting does not end the wait of others.
            answer = await asyncio.shield(under_way)
            if answer is not MISSING:
                return answer
        return answer

    async def _ask_now(self, asked: Any) -> Any:
        answered = self._asked[asked] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._ask(asked)
        except Exception as error:
            answered.set_exception(error)  # of all who waited for it: one request has one outcome
            answered.exception()  # there may be nobody else
            raise
        except BaseException:  # this record's coroutine was cancelled, which is no answer: others ask again
            answered.set_result(MISSING)
            raise
        finally:
            del self._asked[asked]
        self._answers.keep(asked, answer)
        answered.set_result(answer)
        return answer

    def _settle(self, call: Any) -> Any:
        result = super()._settle(call)
        return GIVEN_UP if result is NOT_FOUND else result
