"""What a command sees of the outside: sage-cli gives it, plugins take it, neither imports the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from sage.core.errors import PluginError
from sage.core.versions import version_of

if TYPE_CHECKING:
    from sage.core.client import JobManagerClient
    from sage.core.config import Config

__all__ = ["CommandContext", "command_context", "set_command_context"]


class CommandContext(Protocol):
    """The `sage` command as a plugin's command sees it."""

    @property
    def config(self) -> Config:
        """The configuration in force, options of this run included.

        Raises:
            ConfigError: it is wrong.
        """
        ...

    def client(self) -> JobManagerClient:
        """A client of the configured JobManager; closed when the command ends."""
        ...

    def emit(self, model: Any) -> None:
        """Print a result on stdout, as a table, JSON or YAML, as the user asked."""
        ...

    def note(self, text: str) -> None:
        """Tell a person something, on stderr."""
        ...

    def confirm(self, text: str) -> None:
        """Ask before something that cannot be undone; return if the answer is yes, else end the command.

        A command that asks has an option ``--yes`` of its own, and does not ask if it is given. Ends with exit code
        130 if declined, and 9 where nobody can be asked.
        """
        ...

    def fail(self, code: str, message: str, hint: str | None = None) -> NoReturn:
        """End the command with an error.

        ``code`` is a stable word for machines. Where it is one of `sage.core.errors` (``not_found``, ``wrong_state``),
        the exit code is that error's, else 9.
        """
        ...

    def ask(self, text: str, default: str | None = None) -> str:
        """Ask for a line of text; `default` is the answer where nobody can be asked."""
        ...

    def follow(self, models: Iterable[Any]) -> None:
        """Show each model in place of the one before, until they end; one JSON object a line under ``--json``."""
        ...


_context: CommandContext | None = None


def command_context() -> CommandContext:
    """The context of the `sage` command that runs.

    Raises:
        PluginError: none runs; this was called at import, or outside of `sage`.
    """
    if _context is None:
        hint = "call it inside the command's function, not when its module is imported"
        if version_of("sage-cli") is None:
            hint = "pip install sage-cli, which brings the command 'sage', and run it by that"
        raise PluginError("command_context() was called outside of a running sage command", hint=hint)
    return _context


def set_command_context(context: CommandContext | None) -> CommandContext | None:
    """Give the context to commands of this process, and return the one before. For sage-cli and for tests."""
    global _context
    before, _context = _context, context
    return before
