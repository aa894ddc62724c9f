"""Find a plugin by name, load and verify it, and call its hook."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from sage.core.errors import PluginError, SageError, UnknownBackendError
from sage.core.plugins import hookspecs
from sage.core.plugins.disabling import NOTHING, Disabled, disabled
from sage.core.plugins.loading import Plugin, PluginLoader, broken, owner
from sage.core.plugins.metadata import BUILT_IN, Claim, scan

if TYPE_CHECKING:
    from sage.core.backends.api import Backend, BackendOptions
    from sage.core.connectors.api import Connector
    from sage.core.plugins.entry_points import InstalledPlugin

__all__ = ["PluginManager", "default_manager"]

_BACKENDS, _COMMANDS, _CONNECTORS, _PLUGINS = hookspecs.HOOKS
_BACKEND_PARTS = ("capabilities", "check", "deploy")
_log = logging.getLogger("sage.plugins")


class PluginManager:
    """The installed plugins of this process. One is imported when it is first asked for.

    Args:
        leave: plugins to leave alone.
    """

    def __init__(self, leave: Disabled = NOTHING) -> None:
        self._leave = leave
        self._loader = PluginLoader()
        self._warned: set[object] = set()

    def names(self, group: str) -> tuple[str, ...]:
        """What can be asked for in a group; from metadata alone."""
        return tuple(sorted(self._claims(group)))

    def installed(self) -> tuple[InstalledPlugin, ...]:
        """Everything installed, disabled plugins and clashes included; from metadata alone."""
        from sage.core.plugins.entry_points import installed

        return installed(self._leave)

    def commands(self) -> dict[str, str]:
        """Commands and their one-line helps, sorted; from metadata alone."""
        from sage.core.plugins.entry_points import help_of

        return {name: help_of(claims[0]) for name, claims in sorted(self._claims(_COMMANDS).items())}

    def backend(self, name: str, options: BackendOptions | None = None) -> Backend:
        """Make the backend `name`.

        Raises:
            UnknownBackendError: none of that name is installed.
            PluginError: several distributions claim the name, or the plugin is broken.
            SageError: what the backend itself says, of options it cannot work with for one.
        """
        return self._backend_of(self._built_in(_BACKENDS, name) or self._one(_BACKENDS, name), options)

    def _backend_of(self, claim: Claim, options: BackendOptions | None) -> Backend:
        if options is None:
            from sage.core.backends.api import BackendOptions

            options = BackendOptions()
        made = self._ask(claim, {"name": claim.name, "options": options})
        lacking = [part for part in _BACKEND_PARTS if not hasattr(made, part)]
        if lacking:
            what = (
                f"sage_backend returned a {type(made).__qualname__}, which is no Backend: it lacks {', '.join(lacking)}"
            )
            raise broken(claim, what)
        return cast("Backend", made)

    def connector(self, name: str) -> Connector:
        """The connector `name`.

        Raises:
            PluginError: there is none, several distributions claim the name, or the plugin is broken.
        """
        return self._connector_of(self._one(_CONNECTORS, name))

    def _connector_of(self, claim: Claim) -> Connector:
        made = self._ask(claim, {"name": claim.name})
        if not callable(getattr(made, "source", None)) and not callable(getattr(made, "sink", None)):
            what = f"sage_connector returned a {type(made).__qualname__}, which has neither source(…) nor sink(…)"
            raise broken(claim, what)
        return cast("Connector", made)

    def load_command(self, name: str) -> Any:
        """Import the command `name` and return its `typer.Typer`.

        Raises:
            PluginError: there is no such command, several distributions claim the name, or the plugin is broken.
        """
        return self._ask(self._one(_COMMANDS, name), {"name": name})

    def try_out(self, claim: Claim) -> Plugin:
        """Load and verify what one entry point leads to, and ask it for what it is there for, if that is one thing.

        Raises:
            PluginError: it is broken.
        """
        plugin = self._loader.load(claim)
        if claim.group == _BACKENDS:
            try:
                self._backend_of(claim, None)
            except PluginError:
                raise
            except SageError:  # it may well want options
                pass
        elif claim.group == _CONNECTORS:
            self._connector_of(claim)
        return plugin

    def plugins_with(self, *hooks: str) -> Sequence[Plugin]:
        """The plugins of ``sage.plugins`` that implement any of these hooks, in the order of the entry points' names.

        One that is broken, and several that claim one name, are left out, with one warning each.
        """
        found: list[Plugin] = []
        for name in self.names(_PLUGINS):
            try:
                plugin = self._loader.load(self._one(_PLUGINS, name))
            except PluginError as error:
                self._warn(name, error)
                continue
            if any(hook in plugin.hooks for hook in hooks) and all(plugin.hooks != each.hooks for each in found):
                found.append(plugin)
        return found

    def _warn(self, name: str, error: PluginError) -> None:
        if name not in self._warned:
            self._warned.add(name)
            _log.warning("%s\n  it is left out%s", error.message, f"; {error.hint}" if error.hint else "")

    def _claims(self, group: str) -> Mapping[str, Sequence[Claim]]:
        """Those that are not disabled."""
        left = {name: [each for each in claims if not self._leave.bars(each)] for name, claims in scan(group).items()}
        return {name: claims for name, claims in left.items() if claims}

    def _one(self, group: str, name: str) -> Claim:
        claims = self._claims(group).get(name)
        if claims is None:
            self._refuse(group, name)
        if len(claims) == 1:
            return claims[0]
        owners = [owner(claim) for claim in claims]
        raise PluginError(
            f"{len(claims)} distributions claim the name {name!r} in {group}: {' and '.join(owners)}",
            hint=f"uninstall one, or leave it alone: SAGE_PLUGINS__DISABLE='[{owners[-1].split()[0]}]'",
            plugin=f"{group}: {name}",
            distribution=" and ".join(owners),
        )

    def _built_in(self, group: str, name: str) -> Claim | None:
        """What sage-core itself brings under that name, unless it is disabled."""
        claim = BUILT_IN.get((group, name))
        return None if claim is None or self._leave.bars(claim) else claim

    def _ask(self, claim: Claim, arguments: Mapping[str, Any]) -> Any:
        """Call the one hook of a group on the plugin that an entry point leads to."""
        hook = hookspecs.HOOKS[claim.group][0]
        result = self._loader.load(claim).call(hook, arguments)
        if result is None:
            raise broken(claim, f"{hook} returned None")
        return result

    def _refuse(self, group: str, name: str) -> NoReturn:
        """Say that nothing of that name is there to be used, and what is."""
        what, known = group.removeprefix("sage.").removesuffix("s"), self.names(group)
        hint: str | None = None
        if name in scan(group):
            message = f"the {what} {name!r} is disabled by {self._leave.by}"
        else:
            from sage.core.config.problems import nearest

            meant = nearest(name, known)
            message = f"there is no {what} {name!r}"
            hint = f"did you mean {meant!r}?" if meant else f"install the distribution that brings {name!r}"
        message += f"; installed: {', '.join(known) or 'none'}"
        if group == _BACKENDS:
            raise UnknownBackendError(message, hint=hint, installed=known)
        raise PluginError(message, hint=hint)


_default: tuple[Disabled, PluginManager] | None = None


def default_manager() -> PluginManager:
    """This process's manager, with those plugins left out that are disabled.

    Raises:
        ConfigError: the configuration says something of disabled plugins and is wrong.
    """
    global _default
    leave = disabled()
    if _default is None or _default[0] != leave:
        _default = (leave, PluginManager(leave))
    return _default[1]
