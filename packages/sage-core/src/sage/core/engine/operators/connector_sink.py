"""``write``: a connector's sink, which takes records in batches."""

from __future__ import annotations

from typing import Any

from sage.core.engine.code import Code
from sage.core.engine.context import RuntimeContext
from sage.core.engine.functions import build_function
from sage.core.engine.operators.base import Emit, Flow, RunningOperator
from sage.core.errors import RecordError
from sage.core.graph.model import Operator

__all__ = ["ConnectorSinkOperator"]

_MOST = 1024
"""Records in one batch."""


class ConnectorSinkOperator(RunningOperator):
    """Gathers what comes within one step of its task, and writes it before the step ends."""

    def __init__(self, spec: Operator, context: RuntimeContext) -> None:
        super().__init__(spec, context)
        self._gathered: list[Any] = []
        self._handle: object | None = None

    def build(self) -> None:
        self.function = build_function(self.spec.function)

    def open(self) -> None:
        self._opened = True
        self.function.open(self.context)

    def close(self) -> None:
        """Close the sink; what it has not committed is given up."""
        if self._opened:
            self._opened = False
            handle, self._handle = self._handle, None
            try:
                if handle is not None:
                    self.function.abort(handle)
            finally:
                self.function.close()

    def generate(self, code: Code, flow: Flow, emit: Emit) -> None:
        code.line(f"{code.fast('gather', self._gathered.append)}({flow.value})")
        with code.block(f"if {code.fast('size', self._gathered.__len__)}() >= {_MOST}:"):  # one record may make many
            code.call(f"{code.bind('write', self.write)}()", self, None)

    def write(self) -> None:
        """Write what has gathered. Called after each step of the task, and within one that puts out many records."""
        if self._gathered:
            gathered = self._gathered[:]
            self._gathered.clear()  # in place: generated code appends to this very list
            self._write(gathered)

    def prepare(self) -> None:
        """All input is written: let a transactional sink make it ready."""
        if getattr(self.function, "delivery", None) == "transactional":
            self._handle = self.function.prepare(1)

    @property
    def is_prepared(self) -> bool:
        """Whether there is something to be committed."""
        return self._handle is not None

    def commit(self) -> None:
        """Publish what `prepare` has made ready."""
        if self._handle is not None:
            self.function.commit(self._handle)
            self._handle = None

    def _write(self, records: list[Any]) -> None:
        error: RecordError | None = self.call(self._try, records)
        if error is None:
            return
        if self.recovery is None:
            raise error
        if len(records) == 1:
            self.recovery.give_up(error, records[0])
            return
        for record in records:  # only those that fail are given up
            self._write([record])

    def _try(self, records: list[Any]) -> RecordError | None:
        try:
            self.function.write(list(records))
        except RecordError as error:  # returned, since it would be the same if it were tried again
            return error
        return None
