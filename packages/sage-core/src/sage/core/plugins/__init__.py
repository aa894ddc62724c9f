"""Plugins: backends, connectors, commands and hooks that other distributions bring, loaded when they are needed.

::

    from sage.core.plugins import backend, command_context, hookimpl

Importing this package loads neither pluggy nor `importlib.metadata`; listing what is installed imports no plugin.

::

    hookspecs (all hooks on one page) ← loading (import, verify, call) ← manager (find by name) ← graph_hooks, job_hooks
    metadata (what is installed) ← disabling, entry_points (what of it concerns whom)
    context (what a command sees of sage-cli), stdout and tracing (what is seen of plugins)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sage.core.plugins.context import CommandContext, command_context
from sage.core.plugins.target import Target

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, BackendOptions
    from sage.core.connectors.api import Connector
    from sage.core.errors import Problem
    from sage.core.graph.model import LogicalGraph
    from sage.core.models import CheckpointInfo, FailureInfo, JobInfo
    from sage.core.plugins.entry_points import InstalledPlugin
    from sage.core.plugins.hookspecs import hookimpl

__all__ = [
    "CheckpointInfo",
    "CommandContext",
    "FailureInfo",
    "JobInfo",
    "LogicalGraph",
    "Problem",
    "Target",
    "backend",
    "command_context",
    "connector",
    "hookimpl",
    "installed_backends",
    "installed_commands",
    "installed_plugins",
    "load_command",
]

_HOMES = {
    "CheckpointInfo": "sage.core.models",
    "FailureInfo": "sage.core.models",
    "JobInfo": "sage.core.models",
    "LogicalGraph": "sage.core.graph.model",
    "Problem": "sage.core.errors",
    "hookimpl": "sage.core.plugins.hookspecs",
}
"""Where the other public names are defined; they are looked up when used, so that this package imports little."""


def backend(name: str, options: BackendOptions | None = None) -> Backend:
    """Make the installed backend `name`; without `options`, with the defaults. Backends may wrap others this way.

    Raises:
        UnknownBackendError: none of that name is installed; the error lists those that are.
        PluginError: several distributions claim the name, or the plugin is broken: the error names the distribution.
    """
    from sage.core.plugins.manager import default_manager

    return default_manager().backend(name, options)


def connector(name: str) -> Connector:
    """The installed connector `name`, as ``env.from_connector(name, …)`` and ``stream.to_connector(name, …)`` use it.

    Raises:
        PluginError: none of that name is installed, several distributions claim the name, or the plugin is broken.
    """
    from sage.core.plugins.manager import default_manager

    return default_manager().connector(name)


def installed_backends() -> tuple[str, ...]:
    """The names of the installed backends; imports none of them."""
    from sage.core.plugins.manager import default_manager

    return default_manager().names("sage.backends")


def installed_commands() -> dict[str, str]:
    """The commands that distributions bring, each with its one-line help; imports none of them."""
    from sage.core.plugins.manager import default_manager

    return default_manager().commands()


def installed_plugins() -> tuple[InstalledPlugin, ...]:
    """Everything installed for SAGE with distribution and version, disabled plugins and clashes included."""
    from sage.core.plugins.manager import default_manager

    return default_manager().installed()


def load_command(name: str) -> Any:
    """Import the command `name` and return its `typer.Typer`.

    Raises:
        PluginError: there is none, several distributions claim the name, or the plugin is broken.
    """
    from sage.core.plugins.manager import default_manager

    return default_manager().load_command(name)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
