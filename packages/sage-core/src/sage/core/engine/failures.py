"""From an exception of the user's code to a description that can leave the process."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from sage.core.engine import ctrl_c
from sage.core.engine.excerpt import excerpt
from sage.core.errors import BudgetSpentError, RecordError, SimulationError
from sage.core.models import FailureInfo

if TYPE_CHECKING:
    from sage.core.graph.model import Declared

__all__ = [
    "OperatorError",
    "RunsUserCode",
    "count_failure",
    "describe_backend_failure",
    "describe_failure",
    "headline",
    "told_by_python",
    "trace_of",
    "users_frames",
]

_NO_METHODS = {
    "execute": "",
    "restore": " as its saved state was laid over it",
    "state": " as its state was looked at",
    "snapshot": " as its state was saved",
    "send": ", as what it puts out was sent to another process",
    "receive": ", as records came from another process",
}
"""Phases that are no methods of the function's, in words."""

_OWN = ("sage.core.engine", "sage.core.connectors.files")
_MAX_RECORD = 500
_MAX_MESSAGE = 2_000
_MAX_TRACEBACK = 64_000


class RunsUserCode(Protocol):
    """What runs code of the user's: an operator or a service."""

    failed: int
    """Exceptions of its code that ended what it runs in, or came while that ended."""

    @property
    def spec(self) -> Declared:
        """What was declared."""


class OperatorError(Exception):
    """User code of one operator raised ``cause``. Never leaves the engine.

    Attributes:
        operator: whose code it was.
        phase: ``__init__``, ``open``, ``execute``, ``wait`` or ``close``, of a sink ``prepare`` or ``commit``;
            ``restore``, ``state`` or ``snapshot`` where the engine has looked at its state.
        cause: what it raised.
        record: the record in hand, if ``has_record``.
        trace: the traceback from the user's own first frame on.
    """

    def __init__(
        self,
        operator: RunsUserCode,
        phase: str,
        cause: BaseException,
        trace: TracebackType | None,
        *,
        record: Any = None,
        has_record: bool = False,
    ) -> None:
        if not has_record and isinstance(cause, RecordError):
            record, has_record = cause.record, True
        super().__init__(f"{phase} of {operator.spec.uid}: {headline(cause)}")
        self.operator = operator
        self.phase = phase
        self.cause = cause
        self.trace = trace
        self.record = record
        self.has_record = has_record

    @classmethod
    @contextmanager
    def boundary(cls, operator: RunsUserCode, phase: str) -> Iterator[None]:
        """Whatever user code raises inside, `SystemExit` and the like included, comes out as an `OperatorError`."""
        try:
            yield
        except BaseException as error:
            _cut_off(error)
            count_failure(operator, error)
            raise cls(operator, phase, error, users_frames(trace_of(error))) from error


def count_failure(operator: RunsUserCode, error: BaseException) -> None:
    """Count ``error`` for ``operator``, unless it is Ctrl-C or tells that one too many of those counted was raised."""
    if type(error) is not BudgetSpentError and not ctrl_c.is_pressed(error):
        operator.failed += 1


def describe_failure(error: BaseException, *, subtask: int | None = None) -> FailureInfo:
    """What happened, in words and bounded in size. Never raises, whatever the user's exception or record is like."""
    try:
        return _described(error, subtask)
    except BaseException as other:  # a class of the user's may raise wherever it is looked at
        return _barely_described(error, subtask, other)


def _described(error: BaseException, subtask: int | None) -> FailureInfo:
    if isinstance(error, SimulationError):  # nothing of the job has raised, and SAGE has not either
        text = _bounded(str(error), _MAX_MESSAGE)
        return FailureInfo("backend", text, subtask=subtask, error_type=_type_name(error))
    if not isinstance(error, OperatorError):
        return FailureInfo(
            kind="internal",
            message=_bounded(f"SAGE itself failed, please report this: {headline(error)}", _MAX_MESSAGE),
            subtask=subtask,
            error_type=_type_name(error),
            traceback=_format(error, trace_of(error)),
        )
    spec, cause = error.operator.spec, error.cause
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
    phase = _NO_METHODS.get(error.phase, f" in {error.phase}()")
    more = _current_folder(cause) + _advice(spec.kind, cause)
    _leave_users_frames(cause, error.trace)
    return FailureInfo(
        kind="user_code",
        message=_bounded(f"{spec.title} failed{phase}: {headline(cause)}{more}", _MAX_MESSAGE),
        operator=spec.name,
        uid=spec.uid,
        subtask=subtask,
        location=str(spec.location),
        record=_safe_repr(error.record) if error.has_record else None,
        error_type=_type_name(cause),
        traceback=_format(cause, error.trace) + notes,
    )


def _barely_described(error: BaseException, subtask: int | None, other: BaseException) -> FailureInfo:
    """What can be said of a failure whose exception cannot be looked at: nothing here asks it for anything."""
    # Not even isinstance(), which asks an object for its __class__.
    untold = f"(it cannot be told: looking at it raises {_name(type(other))})"
    if type(error) is not OperatorError:
        return FailureInfo("internal", f"SAGE itself failed: {_name(type(error))} {untold}", subtask=subtask)
    spec, kind = error.operator.spec, _name(type(error.cause))
    return FailureInfo(
        kind="user_code",
        message=_bounded(f"{spec.title} failed: {kind} {untold}", _MAX_MESSAGE),
        operator=spec.name,
        uid=spec.uid,
        subtask=subtask,
        location=str(spec.location),
        record=_safe_repr(error.record) if error.has_record else None,
        error_type=kind,
        traceback="".join(traceback.format_tb(error.trace)),
    )


def describe_backend_failure(error: BaseException) -> FailureInfo:
    """A backend raised where it should have started a job's tasks."""
    return FailureInfo(
        kind="backend",
        message=_bounded(f"the backend could not start the job: {headline(error)}", _MAX_MESSAGE),
        error_type=_type_name(error),
        traceback=_format(error, error.__traceback__),
    )


def _cut_off(error: BaseException) -> None:
    """Take a failure of the engine's out of the context of what user code raised, as when it was closing after that.

    It is told already, and user code has nothing to do with the engine's way there.
    """
    context = vars(BaseException)["__context__"]  # also where a class hides it
    seen: set[int] = set()  # user code may have tied contexts into a ring
    while (before := context.__get__(error)) is not None and id(error) not in seen:
        if type(before) is OperatorError:
            context.__set__(error, None)
            return
        seen.add(id(error))
        error = before


def _leave_users_frames(error: BaseException, trace: TracebackType | None) -> None:
    """Begin the traceback of ``error`` at ``trace``, and those of what it came from behind the frames of SAGE's own.

    Wherever it is shown from here on, as the cause of a `JobFailedError` too, the way through the engine is left out.
    """
    set_trace = vars(BaseException)["__traceback__"].__set__  # also where a class hides it
    set_trace(error, trace)
    seen, left = {id(error)}, [error]
    while left:
        for name in ("__cause__", "__context__"):
            before = vars(BaseException)[name].__get__(left[0])
            if before is not None and id(before) not in seen:  # user code may have tied them into a ring
                seen.add(id(before))
                left.append(before)
                set_trace(before, users_frames(trace_of(before)))
        left.pop(0)


def told_by_python(error: BaseException | None) -> str:
    """What Python prints of ``error``, as a `FailureInfo` has it."""
    try:
        return "" if error is None else _format(error, trace_of(error))
    except BaseException:  # a class of the user's may raise wherever it is looked at
        return ""


def _safe_repr(value: Any, limit: int = _MAX_RECORD) -> str:
    """A bounded ``repr`` that never raises."""
    try:
        return _printable(excerpt(value, limit))
    except BaseException as error:  # user code may raise anything here
        return f"<{_name(type(value))} whose repr raises {_name(type(error))}>"


def trace_of(error: BaseException) -> TracebackType | None:
    """Its traceback, also where its class hides it."""
    trace: TracebackType | None = vars(BaseException)["__traceback__"].__get__(error)
    return trace


def headline(error: BaseException) -> str:
    """Class and text of an exception, whatever asking it for its text does."""
    try:
        text = str.__str__(str(error))
    except BaseException as other:  # user code may raise anything here
        text = f"<its text raises {_name(type(other))}>"
    name = _name(type(error))
    return f"{name}: {text}" if text else name


def _name(kind: type) -> str:
    """The name of a class, whatever its metaclass would say."""
    return str(vars(type)["__name__"].__get__(kind))


def _current_folder(error: BaseException) -> str:
    """The current folder, if a relative path led nowhere: under a JobManager it is the job's own, not the user's."""
    path = error.filename if isinstance(error, FileNotFoundError) else None
    if not isinstance(path, str) or not path or Path(path).is_absolute():
        return ""
    try:
        return f" (the current folder is {Path.cwd()})"
    except OSError:  # somebody removed it
        return " (the current folder is gone)"


def _advice(kind: str, error: BaseException) -> str:
    """What to do about an exception that says too little by itself."""
    bdb = sys.modules.get("bdb")
    if bdb is not None and isinstance(error, bdb.BdbQuit):
        return "\n  hint: a debugger needs a terminal of its own: debug on the backend inline, in this very thread"
    if type(error) is KeyError and _raised_in(error) == "os":
        return "\n  hint: a job of a JobManager is given variables by RemoteEnvironment(…, env_vars={…})"
    ends = {"batch": "None", "source": "STOP"}.get(kind)
    if ends is None or not issubclass(type(error), StopIteration):
        return ""
    return f"\n  hint: a source ends by returning {ends}, as by next(iterator, {ends})"


def _raised_in(error: BaseException) -> str | None:
    """The name of the module that raised ``error``."""
    found, trace = None, trace_of(error)
    while trace is not None:
        found, trace = trace.tb_frame.f_globals.get("__name__"), trace.tb_next
    return found


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _bounded(text: str, limit: int) -> str:
    return _printable(text) if len(text) <= limit else f"{_printable(text[:limit])}… ({len(text):,} characters)"


def _printable(text: str) -> str:
    """Lone surrogates, which no file and no terminal takes, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _format(error: BaseException, trace: TracebackType | None) -> str:
    shown = traceback.TracebackException(type(error), error, trace, limit=-60, compact=True)
    text = _printable("".join(shown.format()))
    if len(text) <= _MAX_TRACEBACK:
        return text
    half = _MAX_TRACEBACK // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def users_frames(trace: TracebackType | None) -> TracebackType | None:
    """Skip frames of the engine and of its own connectors at the top of a traceback."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_OWN):
        trace = trace.tb_next
    return trace
