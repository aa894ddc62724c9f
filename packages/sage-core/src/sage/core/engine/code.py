"""Source code that is generated for one task: lines, names bound to live objects, and call sites.

Operators that need no exchange between them run as one generated loop, since a function call per record and
operator would cost more than most operators do. Each line that calls the user's code is remembered as a
*site*, so that an exception names the operator and the record without any cost while nothing fails.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, FunctionType, TracebackType
from typing import Any

from sage.core.engine.failures import trace_of

__all__ = ["Code"]


@dataclass(frozen=True)
class _CallSite:
    """A generated line that calls user code for ``operator``; the record is in variable ``record``."""

    operator: Any
    record: str | None


class Code:
    """Generated functions of one task.

    Args:
        title: shows up as the file name in tracebacks, ``<sage task 1.0>``.
    """

    def __init__(self, title: str) -> None:
        self.filename = f"<sage {title}>"
        self._lines: list[str] = []
        self._names: dict[str, Any] = {}
        self._sites: dict[int, _CallSite] = {}
        self._locals: list[str] = []
        self._last: list[str] = []
        self._depth = 0
        self._count = 0

    def name(self, stem: str) -> str:
        """A variable name that is not in use yet."""
        self._count += 1
        return f"{stem}_{self._count}"

    def bind(self, stem: str, value: Any) -> str:
        """A name by which the generated code reaches ``value``."""
        name = self.name(stem)
        self._names[name] = value
        return name

    def rebind(self, name: str, value: Any) -> None:
        """Let the generated code reach another value by a name; what is found faster changes with the next call."""
        self._names[name] = value

    def fast(self, stem: str, value: Any) -> str:
        """Like `bind`, for what is used for every record: as a local variable it is found faster."""
        return self.local(stem, self.bind(stem, value))

    def line(self, text: str) -> None:
        self._lines.append(" " * self._depth + text)

    def call(self, text: str, operator: Any, record: str | None) -> None:
        """A line that calls user code of ``operator`` for the record in variable ``record``."""
        self.line(text)
        self._sites[len(self._lines)] = _CallSite(operator, record)

    def counter(self, stem: str) -> str:
        """A variable that starts at 0 in the function being written."""
        return self.local(stem, "0")

    def local(self, stem: str, value: str) -> str:
        """A variable that the function being written sets to the expression ``value`` as it starts."""
        name = self.name(stem)
        self._locals.append(f"{name} = {value}")
        return name

    def kept(self, stem: str, place: str) -> str:
        """A variable for what is kept in ``place`` between two calls of the function being written."""
        name = self.local(stem, place)
        self._last.append(f"{place} = {name}")
        return name

    @contextmanager
    def indented(self) -> Iterator[None]:
        self._depth += 1
        yield
        self._depth -= 1

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        self.line(header)
        with self.indented():
            yield

    @contextmanager
    def function(self, header: str, at_end: Callable[[], None]) -> Iterator[None]:
        """A function of its own locals; the lines that ``at_end`` writes run however it ends."""
        self._locals = []
        self._last = []
        self.line(header)
        with self.indented():
            start = len(self._lines)
            self.line("")  # the locals, once they are known
            with self.block("try:"):
                yield
                self.line("pass")
            with self.block("finally:"):
                for text in self._last:
                    self.line(text)
                at_end()
                self.line("pass")
            self._lines[start] = " " * self._depth + "; ".join(self._locals)

    def compile(self) -> dict[str, FunctionType]:
        """All functions generated so far, by name; their source shows in tracebacks and debuggers."""
        source = "\n".join(self._lines) + "\n"
        linecache.cache[self.filename] = (len(source), None, source.splitlines(keepends=True), self.filename)
        namespace = self._names
        namespace["__name__"] = "sage.core.engine.generated"
        # The text is made of our own templates and generated names only; nothing of the user's is in it.
        exec(compile(source, self.filename, "exec"), namespace)  # noqa: S102
        return {name: value for name, value in namespace.items() if isinstance(value, FunctionType)}

    def forget(self) -> None:
        """Drop the source kept for tracebacks."""
        linecache.cache.pop(self.filename, None)

    def locate(self, error: BaseException) -> tuple[_CallSite | None, Any, TracebackType | None]:
        """Where an exception left the user's code.

        Returns:
            the site, the record that was in hand (None if there was none), and the traceback from the user's
            first own frame on (None if it was raised by the call itself).
        """
        trace = step = trace_of(error)
        while step is not None:
            if step.tb_frame.f_code.co_filename == self.filename:
                site = self._sites.get(step.tb_lineno)
                record = step.tb_frame.f_locals.get(site.record) if site is not None and site.record else None
                return site, record, step.tb_next
            step = step.tb_next
        return None, None, trace

    def running(self, frame: FrameType | None) -> Any:
        """The operator whose code runs in ``frame``, the innermost of a thread; None if it is none of this task."""
        while frame is not None:
            if frame.f_code.co_filename == self.filename:
                site = self._sites.get(frame.f_lineno)
                return None if site is None else site.operator
            frame = frame.f_back
        return None
