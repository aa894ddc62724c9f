"""The ``sage`` command: from a command line to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from sage.cli.context import Context, use
from sage.cli.failures import DECLINED, CommandError, Failure, failure_of
from sage.cli.groups import LazyGroup
from sage.cli.options import wanted_format
from sage.cli.registry import COMMANDS
from sage.core.errors import NotAllowedError, SageError

__all__ = ["main", "root"]

_HELP = "Run dataflow pipelines, and look after the jobs that a JobManager runs."
_USAGE = 2
_INTERNAL = 70
_BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports a program that nobody reads any more


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` by default) and return its exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What a job prints may not fit the terminal's encoding; that must not end the command.
            stream.reconfigure(errors="backslashreplace")
    with use(Context()) as context:
        try:
            failure = _run(context, arguments)
            if failure is None:
                sys.stdout.flush()
                return 0
            if failure.message:
                context.show_failure(failure)
            return failure.exit_code
        except BrokenPipeError:
            _silence_stdout()
            return _BROKEN_PIPE


def root() -> LazyGroup:
    """The command tree."""
    group = LazyGroup("sage", _HELP, COMMANDS)
    group.params[:0] = _root_options()
    return group


def _run(context: Context, arguments: list[str]) -> Failure | None:
    """Run the command; what it ends with, or None if all is well. No message: all has been said."""
    try:
        group = root()
        with group.make_context("sage", list(arguments)) as ctx:
            group.invoke(ctx)
        return None
    except typer.Exit as error:
        return Failure("exit", "", None, error.exit_code) if error.exit_code else None
    except (KeyboardInterrupt, typer.Abort):
        context.leave_line()
        return Failure("interrupted", "interrupted", None, DECLINED)
    except TyperException as error:
        context.use_format(wanted_format(arguments) or context.format)
        return _usage_failure(error)
    except SageError as error:
        _trace(error)
        return failure_of(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        _trace(error)
        context.settle_format()
        return _os_failure(error)
    except Exception as error:
        _trace(error)
        context.settle_format()
        return Failure("internal", f"{type(error).__name__}: {error}", _bug_hint(context), _INTERNAL)


def _usage_failure(error: TyperException) -> Failure:
    """A mistake in the command line, in our form."""
    ctx: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # a plugin's group without a command: its message is the help
        typer.echo(error.format_message(), err=True)
        return Failure("usage", "", None, _USAGE)
    hint = f"'{ctx.command_path} --help' shows how it is used" if ctx is not None else None
    return Failure("usage", error.format_message(), hint, error.exit_code)


def _os_failure(error: OSError) -> Failure:
    """A file or the system does not let us: a matter of permissions (5) or of what is there (9)."""
    what = error.strerror or str(error) or type(error).__name__
    message = f"{error.filename}: {what}" if error.filename is not None else what
    if isinstance(error, PermissionError):
        return Failure(NotAllowedError.code, message, None, NotAllowedError.exit_code)
    return Failure("os", message, None, CommandError.exit_code)


def _bug_hint(context: Context) -> str:
    whose = "SAGE"
    if context.plugin is not None:
        from sage.cli.plugin_commands import distributions_of

        whose = f"the command '{context.plugin}' of {distributions_of(context.plugin)}"
    return f"this looks like a bug in {whose}, please report it; SAGE_DEBUG=1 shows where it happened"


def _root_options() -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_signature)
    params: list[Any] = typer.main.get_command(app).params
    return params


def _show_version(value: bool) -> None:
    if value:
        from sage.core.versions import version_of

        typer.echo(f"sage {version_of('sage-cli')}")
        raise typer.Exit


def _leave_plugins(value: bool) -> None:
    if value:
        from sage.core.plugins.disabling import NO_PLUGINS

        os.environ[NO_PLUGINS] = "1"  # by the environment, so that programs which this one runs leave them alone, too


def _signature(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, expose_value=False, is_eager=True, help="Show the version."),
    ] = False,
    no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins",
            callback=_leave_plugins,
            expose_value=False,
            is_eager=True,
            help="Leave all plugins alone that SAGE itself does not bring.",
        ),
    ] = False,
) -> None:
    """Carries the options; never called."""


def _trace(error: BaseException) -> None:
    if os.environ.get("SAGE_DEBUG"):
        import traceback

        traceback.print_exception(error)


def _silence_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's last flush raises nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
