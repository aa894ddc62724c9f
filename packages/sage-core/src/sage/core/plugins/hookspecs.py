"""The hooks of SAGE, all on this page.

Each is called on the one plugin that a name leads to, through an entry point of the group named below. An
implementation may leave out arguments it does not need; returning None is an error. The signatures here are public:
arguments are only ever added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, BackendOptions

__all__ = ["HOOKS", "PROJECT", "SAGE_API", "hookimpl", "hookspec", "sage_backend", "sage_command"]

PROJECT = "sage"
SAGE_API = 1
"""The version of the hooks; a plugin may say which it was written for by a ``sage_api`` attribute."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def sage_backend(name: str, options: BackendOptions) -> Backend:  # type: ignore[empty-body]
    """Make the backend `name` (group ``sage.backends``).

    ::

        @hookimpl
        def sage_backend(name, options):
            return MyBackend(workers=options.settings.get("workers", 2))
    """


@hookspec(firstresult=True)
def sage_command(name: str) -> Any:
    """Return the `typer.Typer` of the command `name` (group ``sage.commands``).

    ::

        app = typer.Typer(help="Say hello.")

        @hookimpl
        def sage_command(name):
            return app
    """


HOOKS = {"sage.backends": "sage_backend", "sage.commands": "sage_command"}
"""The hook that an entry point of each group must implement."""
