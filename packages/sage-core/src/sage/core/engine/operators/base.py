"""What all operators have in common while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.functions import build_function, close_function, entry_point, open_function, wants_context
from sage.core.graph.model import Operator

__all__ = ["ENDED", "MORE", "Emit", "Flow", "RunningOperator"]

MORE, ENDED = 0, 2
"""What a turn over a bounded number of records answers: there may be more at once, there is nothing any more."""


class Flow:
    """Names of variables in generated code: the record in hand, its key, and the count of records so far."""

    __slots__ = ("count", "key", "value")

    def __init__(self, value: str, count: str, key: str | None = None) -> None:
        self.value = value
        self.count = count
        self.key = key


Emit = Callable[[Flow], None]
"""Generates what happens to a record that an operator puts out."""


class RunningOperator:
    """One operator in one subtask: the user's function, its life, and the code that calls it.

    Args:
        spec: the operator.
        context: what its function may know.

    Attributes:
        records_in, records_out: counted so far; written by the task's thread, read by any.
    """

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        self.spec = spec
        self.context = context
        self.records_in = 0
        self.records_out = 0
        self._opened = False
        self.function: Any = None
        self.execute: Callable[..., Any] = _not_open

    def open(self) -> None:
        """Build the function and call its ``open``. Called once, on the task's thread, before `generate`."""
        self.function = build_function(self.spec.function)
        self.execute = entry_point(self.function, self.spec.function)
        self._opened = True
        open_function(self.function, self.spec.function, self.context)

    def close(self) -> None:
        """Call the function's ``close`` if it was built. Called once."""
        if self._opened:
            self._opened = False
            close_function(self.function, self.spec.function)

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        """Write the lines that process one record of ``flow``.

        Args:
            code: where to write.
            flow: the incoming record.
            emit: to be called where a record goes out.
        """
        raise TypeError(f"{self.spec.kind} takes no input")

    def held_back(self) -> Iterator[Any] | None:
        """What is emitted at the end of input, read no sooner; None if nothing ever is."""
        return None

    def generate_taking(self, code: Code, records: Iterator[Any], limit: str, emit: Emit) -> None:
        """Write a loop that emits at most ``limit`` of ``records`` and answers `MORE` or `ENDED`."""
        value, count = code.name("record"), code.counter("taken")
        some = f"{code.bind('islice', islice)}({code.bind('records', records)}, {limit})"
        code.call(f"for {value} in {some}:", self, None)
        with code.indented():
            code.line(f"{count} += 1")
            emit(Flow(value, count))
        code.line(f"return {MORE} if {count} == {limit} else {ENDED}")

    def _set_key(self, code: Code, flow: Flow) -> None:
        if flow.key is not None and wants_context(self.function, self.spec.function):
            code.line(f"{code.bind('context', self.context)}.key = {flow.key}")


def _not_open(*_: Any) -> Any:
    raise RuntimeError("the operator is not open")
