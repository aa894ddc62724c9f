"""The command tree, loaded branch by branch: a command's module is imported when that command was chosen.

The one place that reaches into Typer's classes. Typer 0.28 promises `get_command` and `list_commands` nowhere,
though its own tool overrides both; hence the pinned minor version, the `Any` in signatures, and a test of the
contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sage.cli.context import current
from sage.cli.failures import refuse
from sage.cli.options import add_output_options, wanted_format
from sage.cli.registry import ELSEWHERE, Entry
from sage.core.errors import SageError

__all__ = ["LazyGroup", "Stub", "add_plugin_commands"]

_COMPLETION = ("install_completion", "show_completion")  # what a default Typer() adds to install its completion


class Stub(TyperCommand):
    """A name and a help; the command itself is loaded when its arguments are read."""

    def __init__(self, name: str, help: str, load: Callable[[], Any], **settings: Any) -> None:
        super().__init__(name, help=help, rich_markup_mode=None, **settings)
        self.load = load

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        try:
            command = self.load()
        except SageError:
            # Nobody will read the command's options any more, but how to print is among them.
            current().use_format(wanted_format(args) or current().format)
            raise
        return command.make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group of built-in commands, to which plugins may add others under names that are free.

    Args:
        name: what users type.
        help: one line or more.
        entries: the built-in commands.
        path: the names that lead here, ``("job",)``; empty for the root.
    """

    def __init__(self, name: str, help: str, entries: Mapping[str, Entry], path: tuple[str, ...] = ()) -> None:
        commands: dict[str, Any] = {key: _built_in(key, entry, path) for key, entry in entries.items()}
        super().__init__(name=name, help=help, commands=commands, rich_markup_mode=None)
        self._path = path
        self._built_in = frozenset(entries)
        self._scanned = False
        self._unlisted: SageError | None = None  # why plugins could not be listed
        add_output_options(self)

    def parse_args(self, ctx: Any, args: Any) -> Any:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self._built_in:
            self._add_plugins()
        found = self.commands.get(cmd_name)
        if found is not None or ctx.resilient_parsing:
            return found
        if self._unlisted is not None:
            return Stub(cmd_name, "", _failing(self._unlisted))
        if not self._path and cmd_name in ELSEWHERE:
            return Stub(cmd_name, "", _missing(cmd_name))
        return None

    def list_commands(self, ctx: Any) -> list[str]:
        self._add_plugins()
        if self._unlisted is not None and not ctx.resilient_parsing:
            # All other commands work without them.
            current().note(f"warning: commands of plugins are left out: {self._unlisted.message}")
        return list(self.commands)

    def _add_plugins(self) -> None:
        if not self._scanned:
            self._scanned = True
            try:
                add_plugin_commands(self, self._path)
            except SageError as error:
                self._unlisted = error


def add_plugin_commands(group: Any, path: tuple[str, ...]) -> None:
    """Add the commands that plugins offer right under `path`; names that are taken stay what they are."""
    from sage.cli.plugin_commands import plugin_commands

    for name, help in plugin_commands(path).items():
        if name not in group.commands:
            group.commands[name] = Stub(name, help, _plugin_loader((*path, name)))


def _built_in(name: str, entry: Entry, path: tuple[str, ...]) -> Any:
    if entry.module is None:
        return LazyGroup(name, entry.help, entry.children, (*path, name))
    return Stub(name, entry.help, _built_in_loader(name, entry.module))


def _built_in_loader(name: str, module: str) -> Callable[[], Any]:
    def load() -> Any:
        return _finished(import_module(module).app, name)

    return load


def _failing(error: SageError) -> Callable[[], Any]:
    def load() -> Any:
        raise error

    return load


def _missing(name: str) -> Callable[[], Any]:
    def load() -> Any:
        brings = ELSEWHERE[name]
        message = f"the command '{name}' comes with {brings}, which is not installed here"
        refuse("not_installed", message, f"pip install {brings}")

    return load


def _plugin_loader(path: tuple[str, ...]) -> Callable[[], Any]:
    def load() -> Any:
        from sage.cli.plugin_commands import load_plugin_command

        command = _finished(load_plugin_command(path), path[-1])
        if isinstance(command, TyperGroup):
            add_plugin_commands(command, path)
        return command

    return load


def _finished(app: typer.Typer, name: str) -> Any:
    """The command of a Typer application, with the options that every command takes and plain help.

    An application with one command becomes that command, without a group around it.
    """
    app.rich_markup_mode = None  # rich's help takes twice the time
    command: Any = typer.main.get_command(app)
    command.name = name
    command.params = [param for param in command.params if param.name not in _COMPLETION]
    _walk(command)
    return command


def _walk(command: Any) -> None:
    add_output_options(command)
    if isinstance(command, TyperGroup):
        for child in command.commands.values():
            _walk(child)
