"""Find a plugin by name, load and verify it, call its hook, and name the culprit when that fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pluggy

from sage.core.errors import PluginError, SageError, UnknownBackendError
from sage.core.plugins import hookspecs
from sage.core.plugins.entry_points import (
    BUILT_IN,
    InstalledPlugin,
    canonical,
    distribution_of,
    help_of,
    installed,
    scan,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from sage.core.backends.api import Backend, BackendOptions
    from sage.core.plugins.entry_points import Claim

__all__ = ["PluginManager", "default_manager"]

_BACKENDS = "sage.backends"
_COMMANDS = "sage.commands"
_BACKEND_PARTS = ("capabilities", "check", "deploy")


class PluginManager:
    """The installed plugins of this process.

    Entry points are scanned once (again when ``sys.path`` has changed); a plugin is imported when first asked for.

    Args:
        disable: distributions and entry points to leave alone (``plugins.disable``).
    """

    def __init__(self, disable: tuple[str, ...] = ()) -> None:
        self._disable = disable
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._scanned: dict[str, tuple[tuple[str, ...], Mapping[str, list[EntryPoint]]]] = {}
        self._loaded: dict[tuple[str, str, str], Any] = {}

    def names(self, group: str) -> tuple[str, ...]:
        """What can be asked for in a group; from metadata alone."""
        return tuple(sorted(name for name, claims in self._claims(group).items() if claims))

    def installed(self) -> tuple[InstalledPlugin, ...]:
        """Everything installed, disabled plugins and clashes included; from metadata alone."""
        return installed(self._disable)

    def commands(self) -> dict[str, str]:
        """Commands and their one-line helps, sorted; from metadata alone."""
        claims = self._claims(_COMMANDS)
        return {name: help_of(claims[name][0]) for name in self.names(_COMMANDS)}

    def backend(self, name: str, options: BackendOptions | None = None) -> Backend:
        """Make the backend `name`.

        Raises:
            UnknownBackendError: none of that name is installed.
            PluginError: several distributions claim the name, or the plugin is broken.
            SageError: what the backend itself says, of options it cannot work with for one.
        """
        claim = self._built_in(_BACKENDS, name)
        if claim is None:
            if not self._claims(_BACKENDS).get(name):
                self._refuse_backend(name)
            claim = self._one(_BACKENDS, name)
        if options is None:
            from sage.core.backends.api import BackendOptions

            options = BackendOptions()
        made = self._call(claim, {"name": name, "options": options})
        lacking = [part for part in _BACKEND_PARTS if not hasattr(made, part)]
        if lacking:
            what = (
                f"sage_backend returned a {type(made).__qualname__}, which is no Backend: it lacks {', '.join(lacking)}"
            )
            raise _broken(claim, what)
        return cast("Backend", made)

    def load_command(self, name: str) -> Any:
        """Import the command `name` and return its `typer.Typer`.

        Raises:
            PluginError: there is no such command, several distributions claim the name, or the plugin is broken.
        """
        if not self._claims(_COMMANDS).get(name):
            known = ", ".join(self.names(_COMMANDS)) or "none"
            why = f"the command {name!r} is disabled by plugins.disable" if self._is_barred(_COMMANDS, name) else None
            raise PluginError(why or f"no plugin brings a command {name!r}; those installed: {known}")
        return self._call(self._one(_COMMANDS, name), {"name": name})

    def _claims(self, group: str) -> Mapping[str, list[EntryPoint]]:
        path = tuple(sys.path)
        if group not in self._scanned or self._scanned[group][0] != path:
            found = scan(group)
            if self._disable:
                found = {name: [each for each in claims if not self._bars(each)] for name, claims in found.items()}
            self._scanned[group] = (path, found)
        return self._scanned[group][1]

    def _bars(self, entry_point: EntryPoint) -> bool:
        if entry_point.name in self._disable:
            return True
        return canonical(distribution_of(entry_point)[0]) in map(canonical, self._disable)

    def _is_barred(self, group: str, name: str) -> bool:
        """Whether a name that cannot be asked for is installed all the same."""
        return name in self._claims(group)

    def _one(self, group: str, name: str) -> EntryPoint:
        claims = self._claims(group)[name]
        if len(claims) == 1:
            return claims[0]
        owners = [" ".join(distribution_of(claim)) for claim in claims]
        raise PluginError(
            f"{len(claims)} distributions claim the name {name!r} in {group}: {' and '.join(owners)}",
            hint=f"uninstall one, or leave it alone: SAGE_PLUGINS__DISABLE='[{owners[-1].split()[0]}]'",
            plugin=f"{group}: {name}",
            distribution=" and ".join(owners),
        )

    def _built_in(self, group: str, name: str) -> Claim | None:
        """What sage-core itself brings under that name, unless it is disabled."""
        return None if {name, "sage-core"} & set(self._disable) else BUILT_IN.get((group, name))

    def _call(self, entry_point: Claim, arguments: Mapping[str, Any]) -> Any:
        """Call the hook of an entry point's group on the plugin it leads to."""
        plugin = self._load(entry_point)
        hook = hookspecs.HOOKS[entry_point.group]
        others = [other for other in self._pluggy.get_plugins() if other is not plugin]
        caller = self._pluggy.subset_hook_caller(hook, others)
        if not caller.get_hookimpls():
            raise _broken(entry_point, f"it has no {hook} marked with @hookimpl")
        try:
            result = caller(**arguments)
        except SageError:
            raise
        except (Exception, SystemExit) as error:
            raise _broken(entry_point, f"{hook} raised {_told(error)}") from error
        if result is None:
            raise _broken(entry_point, f"{hook} returned None")
        return result

    def _load(self, entry_point: Claim) -> Any:
        """The plugin object, imported, checked and registered once."""
        key = (entry_point.group, entry_point.name, entry_point.value)
        if key in self._loaded:
            return self._loaded[key]
        try:
            plugin = entry_point.load()
        except (Exception, SystemExit) as error:
            raise _broken(entry_point, f"importing it raised {_told(error)}") from error
        self._check_api(entry_point, plugin)
        if not self._pluggy.is_registered(plugin):
            name = f"{entry_point.group}:{entry_point.name}={entry_point.value}"
            try:
                self._pluggy.register(plugin, name)
                self._pluggy.check_pending()
            except (Exception, SystemExit) as error:
                # A plugin that fails the check must not stay behind: it would fail the next one's check, too.
                if self._pluggy.is_registered(plugin):
                    self._pluggy.unregister(plugin)
                raise _broken(entry_point, str(error)) from error
        self._loaded[key] = plugin
        return plugin

    def _check_api(self, entry_point: Claim, plugin: Any) -> None:
        wanted = getattr(plugin, "sage_api", hookspecs.SAGE_API)
        offered = hookspecs.SAGE_API
        if isinstance(wanted, bool) or not isinstance(wanted, int):
            raise _broken(entry_point, f"its sage_api is {wanted!r}, not a whole number")
        if wanted > offered:
            what = f"it was written for version {wanted} of the plugin hooks, this SAGE offers {offered}"
            raise _broken(entry_point, what, "upgrade sage-core, or install an older version of the plugin")
        if wanted < offered:
            what = f"it was written for version {wanted} of the plugin hooks, this SAGE needs {offered}"
            raise _broken(entry_point, what, "upgrade the plugin")

    def _refuse_backend(self, name: str) -> NoReturn:
        known = self.names(_BACKENDS)
        listed = ", ".join(known) or "none"
        if self._is_barred(_BACKENDS, name):
            raise UnknownBackendError(
                f"the backend {name!r} is disabled by plugins.disable; installed: {listed}", installed=known
            )
        from sage.core.config.problems import nearest

        meant = nearest(name, known)
        hint = f"did you mean {meant!r}?" if meant else f"install the distribution that brings {name!r}"
        raise UnknownBackendError(f"there is no backend {name!r}; installed: {listed}", hint=hint, installed=known)


def _broken(entry_point: Claim, what: str, hint: str | None = None) -> PluginError:
    distribution = " ".join(distribution_of(entry_point))
    return PluginError(
        f"the plugin {entry_point.name!r} of {distribution} is broken: {what}\n"
        f"  entry point: {entry_point.name} = {entry_point.value} [{entry_point.group}]",
        hint=hint or f"upgrade or uninstall {distribution.split()[0]}, or name it in plugins.disable",
        plugin=f"{entry_point.group}: {entry_point.name}",
        distribution=distribution,
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


_default: tuple[tuple[str, ...], PluginManager] | None = None


def default_manager() -> PluginManager:
    """This process's manager, with the plugins left out that ``plugins.disable`` names.

    Raises:
        ConfigError: the configuration says something of disabled plugins and is wrong.
    """
    global _default
    disable = _disabled()
    if _default is None or _default[0] != disable:
        _default = (disable, PluginManager(disable))
    return _default[1]


def _disabled() -> tuple[str, ...]:
    from sage.core.config.places import config_path

    if "SAGE_PLUGINS__DISABLE" not in os.environ:
        # A file without that word disables nothing, and need not be parsed: listing commands and running
        # locally then neither pay for YAML nor fail for a mistake elsewhere in the file.
        try:
            if b"disable" not in config_path().read_bytes():
                return ()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise PluginError(f"cannot tell which plugins are disabled: {error}") from error
    from sage.core.config import load

    return load().plugins.disable
