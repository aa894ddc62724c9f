"""The commands that other distributions bring: listed from metadata, loaded by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import typer

from sage.cli.context import current
from sage.core.errors import PluginError

__all__ = ["distributions_of", "load_plugin_command", "plugin_commands", "wrong_in"]


def plugin_commands(path: tuple[str, ...]) -> Mapping[str, str]:
    """Names and one-line helps of the plugin commands right under a place in the tree; imports no plugin.

    Raises:
        ConfigError: it cannot be told which plugins are disabled.
    """
    from sage.core.plugins import installed_commands

    depth = len(path)
    split = {tuple(name.split(".")): help for name, help in installed_commands().items()}
    return {parts[depth]: help for parts, help in split.items() if len(parts) == depth + 1 and parts[:depth] == path}


def load_plugin_command(path: tuple[str, ...]) -> typer.Typer:
    """Import the plugin command at a place in the tree.

    Raises:
        PluginError: it is broken, or several distributions claim its name.
    """
    from sage.core.plugins import load_command

    name = ".".join(path)
    with _stdout_diverted():
        app = load_command(name)
    wrong = wrong_in(app)
    if wrong is not None:
        raise PluginError(
            f"the plugin {name!r} of {distributions_of(name)} is broken: {wrong}",
            hint="upgrade or uninstall it, or name it in plugins.disable",
        )
    current().plugin = name
    return cast("typer.Typer", app)


@contextmanager
def _stdout_diverted() -> Iterator[None]:
    """Let what is written to the descriptor of stdout go to stderr: by a library in C, or by a child."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except OSError:  # it is closed, and nothing can be spoilt
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def wrong_in(app: object) -> str | None:
    """What is wrong with what a plugin gives for a command."""
    if isinstance(app, typer.Typer) and (app.registered_commands or app.registered_groups):
        return None
    return f"sage_command returned {type(app).__qualname__}, not a typer.Typer with a command"


def distributions_of(name: str) -> str:
    """Who brings the command, with versions."""
    from sage.core.plugins import installed_plugins

    found = [item for item in installed_plugins() if item.group == "sage.commands" and item.name == name]
    return " and ".join(f"{item.distribution} {item.version}" for item in found)
