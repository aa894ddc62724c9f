"""Plugins: backends and commands that other distributions bring, found by name and loaded when asked for.

::

    from sage.core.plugins import backend, command_context, hookimpl

Importing this package loads neither pluggy nor `importlib.metadata`; listing what is installed imports no plugin.

::

    hookspecs (all hooks on one page) ← manager (load, verify, call) → entry_points (metadata)
    context (what a command sees of sage-cli)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sage.core.plugins.context import CommandContext, command_context

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, BackendOptions
    from sage.core.plugins.entry_points import InstalledPlugin
    from sage.core.plugins.hookspecs import hookimpl

__all__ = [
    "CommandContext",
    "backend",
    "command_context",
    "hookimpl",
    "installed_backends",
    "installed_commands",
    "installed_plugins",
    "load_command",
]


def backend(name: str, options: BackendOptions | None = None) -> Backend:
    """Make the installed backend `name`; without `options`, with the defaults. Backends may wrap others this way.

    Raises:
        UnknownBackendError: none of that name is installed; the error lists those that are.
        PluginError: several distributions claim the name, or the plugin is broken: the error names the distribution.
    """
    from sage.core.plugins.manager import default_manager

    return default_manager().backend(name, options)


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
    if name == "hookimpl":
        from sage.core.plugins.hookspecs import hookimpl

        return hookimpl
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
