"""How commands, ours and plugins', reach the outside: configuration, JobManager, output, questions.

Data goes to stdout, words for people to stderr. Results are models; whether a table, JSON or YAML is printed is
decided here and nowhere in a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, cast

from sage.cli.failures import DECLINED, Failure, refuse
from sage.cli.render.text import clean, clean_block

if TYPE_CHECKING:
    from rich.console import Console

    from sage.cli.render.logs import LogPrinter
    from sage.cli.render.views import View
    from sage.core.client import JobManagerClient
    from sage.core.config import Config
    from sage.core.models import LogChunk

__all__ = ["Context", "current", "use"]


class Context:
    """One run of the ``sage`` command; what `sage.core.plugins.command_context` gives to plugins."""

    def __init__(self) -> None:
        self.plugin: str | None = None
        """The plugin's command that runs, if it is one."""
        self._format: str | None = None
        self._config: Config | None = None
        self._clients: list[JobManagerClient] = []
        self._line_left = False

    # Configuration and JobManager

    @property
    def config(self) -> Config:
        """The configuration in force.

        Raises:
            ConfigError: it is malformed.
        """
        if self._config is None:
            from sage.core.config import load

            self._config = load()
        return self._config

    def client(self, *, host: str | None = None, port: int | None = None) -> JobManagerClient:
        """A client of the configured JobManager (or of the one given); closed when the command ends."""
        from sage.core.client import JobManagerClient

        client = JobManagerClient.from_config(self.config, host=host, port=port)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close what the command opened."""
        while self._clients:
            self._clients.pop().close()

    # Results

    def use_format(self, name: str) -> None:
        """Print results as ``table``, ``json`` or ``yaml``, whatever the configuration says."""
        self._format = name

    def settle_format(self) -> None:
        """Decide on a table unless a format is known: for a report about what failed in finding it out."""
        self._format = self._format or "table"

    @property
    def format(self) -> str:
        """``table``, ``json`` or ``yaml``: the option's, else the configuration's."""
        if self._format is None:
            self._format = self._setting("format", lambda config: config.output.format, "table")
        return self._format

    @property
    def for_machines(self) -> bool:
        """Whether stdout carries documents that programs read."""
        return self.format != "table"

    def emit(self, model: object, *, kind: str | None = None, view: View | None = None) -> None:
        """Print a result.

        Args:
            model: a dataclass, a mapping, a value, or a sequence of these.
            kind: its name in JSON and YAML; without one, that of its class.
            view: how people see it; without one, by its fields.
        """
        if self.for_machines:
            self._write(self._document(model, kind, line=False))
        elif _is_log(model):
            self._print_log([cast("LogChunk", model)])
        else:
            self._show(model, view)

    def emit_next(self, model: object, *, kind: str | None = None) -> None:
        """Print one of many results, to machines: one JSON object a line, or one YAML document."""
        self._write(self._document(model, kind, line=True))

    def follow(self, models: Iterable[object], *, kind: str | None = None, view: View | None = None) -> None:
        """Print results as they come: on a terminal in place of the one before, for machines one after the other.

        Pieces of a log (`LogChunk`) are text, and follow each other everywhere.
        """
        if self.for_machines:
            for model in models:
                self.emit_next(model, kind=kind)
            return
        items = iter(models)
        first = next(items, None)
        if _is_log(first):
            self._print_log(cast("Iterable[LogChunk]", chain([first], items)))
        elif first is not None:
            console = self._console()
            with self._live(console, view) if console is not None else self._one_by_one(view) as show:
                for model in chain([first], items):
                    show(model)

    def log_printer(self, prefix: str = "") -> LogPrinter:
        """What writes the pieces of one log to stdout, for people."""
        from sage.cli.render.logs import LogPrinter

        return LogPrinter(self._write, terminal=sys.stdout.isatty(), prefix=prefix)

    # People

    def note(self, text: str) -> None:
        """Say something to people, on stderr."""
        print(clean_block(text), file=sys.stderr, flush=True)

    def leave_line(self) -> None:
        """After Ctrl-C: go on in a new line, since the terminal has shown ``^C`` in the current one."""
        if sys.stderr.isatty() and not self._line_left:
            self._line_left = True
            print(file=sys.stderr, flush=True)

    def confirm(self, text: str) -> None:
        """Ask before something that cannot be undone; come back only if the answer is yes.

        Raises:
            CommandError: nobody can be asked (exit code 9), or the answer is no (130).
        """
        if self._answer(f"{text} [y/N]: ", "--yes answers the question").strip().lower() not in ("y", "yes"):
            refuse("declined", "nothing was done", exit_code=DECLINED)

    def ask(self, text: str, default: str | None = None) -> str:
        """Ask for a line of text; an empty answer means the default, and so does it that nobody can be asked.

        Raises:
            CommandError: there is no default and nobody can be asked (exit code 9), or the input ended (130).
        """
        if default is not None and not _can_ask():
            return default
        shown = f" [{default}]" if default else ""
        while True:
            answer = self._answer(f"{text}{shown}: ", "give the value as an option").strip()
            if answer or default is not None:
                return answer or default or ""

    def fail(self, code: str, message: str, hint: str | None = None) -> NoReturn:
        """End the command with an error; the exit code is that of SAGE's error with this code, else 9.

        Raises:
            CommandError: always.
        """
        refuse(code, message, hint, exit_code=_exit_code_of(code))

    def show_failure(self, failure: Failure) -> None:
        """Print why the command fails: a document on stdout for machines, words on stderr for people."""
        if self.for_machines:
            self._write(self._document(failure, "Error", line=True))
            return
        text = f"error: {clean_block(failure.message)}"
        if failure.hint:
            text += f"\n  hint: {clean_block(failure.hint)}"
        print(text, file=sys.stderr, flush=True)

    # How

    def _answer(self, prompt: str, hint: str) -> str:
        if not _can_ask():
            refuse("no_terminal", f"cannot ask without a terminal: {clean(prompt).rstrip(': ')}", hint)
        print(clean(prompt), end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print(file=sys.stderr)
            refuse("declined", "nothing was done", exit_code=DECLINED)
        return line

    def _document(self, model: object, kind: str | None, *, line: bool) -> str:
        from sage.cli.render.documents import json_text, yaml_text
        from sage.cli.render.envelope import envelope

        text = json_text if self.format == "json" else yaml_text
        return text(envelope(model, kind), line=line)

    def _show(self, model: object, view: View | None) -> None:
        parts = self._parts(model, view)
        console = self._console()
        if console is not None:
            from sage.cli.render import rich_

            console.print(rich_.renderable(parts))
        else:
            from sage.cli.render.plain import render

            self._write(render(parts))

    def _console(self) -> Console | None:
        """The terminal, or what shall be treated like one; None for a plain stream."""
        terminal, colors = sys.stdout.isatty(), self._colors()
        if not terminal and colors != "always":
            return None
        from sage.cli.render import rich_

        return rich_.console(sys.stdout, colors=colors != "never", terminal=True)

    def _colors(self) -> str:
        """``auto``, ``always`` or ``never``."""
        if os.environ.get("NO_COLOR"):
            return "never"
        return self._setting("colors", lambda config: config.output.colors, "auto")

    def _parts(self, model: object, view: View | None) -> Any:
        from sage.cli.render import views
        from sage.cli.render.parts import Table

        parts = (view or views.view)(model)
        for part in parts:
            if isinstance(part, Table) and part.empty and not part.rows:
                self.note(part.empty)
        return parts

    def _print_log(self, chunks: Iterable[LogChunk]) -> None:
        printer = self.log_printer()
        for chunk in chunks:
            printer.feed(chunk.text)
        printer.close()

    @contextmanager
    def _live(self, console: Console, view: View | None) -> Iterator[Callable[[object], None]]:
        from rich.live import Live

        from sage.cli.render import rich_

        with Live(console=console, auto_refresh=False) as live:
            yield lambda model: live.update(rich_.renderable(self._parts(model, view)), refresh=True)

    @contextmanager
    def _one_by_one(self, view: View | None) -> Iterator[Callable[[object], None]]:
        yield lambda model: self._show(model, view)

    def _setting(self, name: str, read: Callable[[Config], str], default: str) -> str:
        """A setting of the section ``output``, whose default is known here.

        The configuration is loaded only if it can say anything of it; and where it is wrong, whoever needs it reports
        that: how to print must be known for that very report.
        """
        from sage.core.errors import ConfigError

        try:
            return read(self.config) if self._config is not None or _mentions(name) else default
        except ConfigError:
            return default

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _mentions(name: str) -> bool:
    """Whether a variable or the file may set this field of the section ``output``."""
    if f"SAGE_OUTPUT__{name.upper()}" in os.environ:
        return True
    from sage.core.config.places import config_path

    try:
        lines = config_path().read_bytes().splitlines()
    except OSError:
        return False  # absent; or whoever needs it reports that it cannot be read
    return any(name.encode() in line and not line.lstrip().startswith(b"#") for line in lines)


def _is_log(model: object) -> bool:
    return type(model).__name__ == "LogChunk"


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _exit_code_of(code: str) -> int:
    from sage.core import errors

    for name in errors.__all__:
        item = getattr(errors, name)
        if isinstance(item, type) and issubclass(item, errors.SageError) and item.code == code:
            return item.exit_code
    return 9


_context = Context()


def current() -> Context:
    """The context of the command that runs."""
    return _context


@contextmanager
def use(context: Context) -> Iterator[Context]:
    """Make `context` the current one for the run of a command, and close it after."""
    from sage.core.plugins.context import set_command_context

    global _context
    before, _context = _context, context
    plugins_before = set_command_context(context)
    try:
        yield context
    finally:
        _context = before
        set_command_context(plugins_before)
        context.close()
