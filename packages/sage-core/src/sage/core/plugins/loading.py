"""Import a plugin, verify it, and name the culprit when that fails."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import pluggy

from sage.core.errors import PluginError, SageError
from sage.core.plugins import hookspecs
from sage.core.plugins.metadata import Claim, distribution_of
from sage.core.plugins.stdout import diverted
from sage.core.plugins.tracing import traced

__all__ = ["SLOW", "Plugin", "PluginLoader", "broken", "owner", "title"]

SLOW = 5.0
"""Seconds after which whoever waits for a plugin is told which one it is."""

_log = logging.getLogger("sage.plugins")


class Plugin(NamedTuple):
    """A plugin that was imported and verified.

    Attributes:
        claim: the entry point that leads to it.
        hooks: its implementations by name of the hook.
    """

    claim: Claim
    hooks: Mapping[str, pluggy.HookImpl]

    def call(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        """Call its implementation with those of the arguments that it takes.

        Raises:
            SageError: what the plugin says on purpose.
            PluginError: it raised anything else.
        """
        found = self.hooks[hook]
        try:
            with diverted(), traced(lambda: f"called {hook} of {self.claim.name} = {self.claim.value}"):
                return found.function(*(arguments[name] for name in found.argnames))
        except (SageError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise broken(self.claim, f"{hook} raised {_told(error)}") from error


class PluginLoader:
    """Loads each plugin once. A plugin that failed is tried again when it is asked for again."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._loaded: dict[Claim, Plugin] = {}
        self._lock = threading.RLock()  # of pluggy's registry: importing is Python's own affair

    def load(self, claim: Claim) -> Plugin:
        """The plugin that an entry point leads to.

        Raises:
            PluginError: it cannot be imported, was written for other hooks, or its implementations are wrong.
        """
        if claim not in self._loaded:
            with traced(lambda: f"loaded {claim.group}: {claim.name} = {claim.value} of {owner(claim)}"):
                plugin = self._imported(claim)
                with self._lock:
                    self._loaded[claim] = self._verified(claim, plugin)
        return self._loaded[claim]

    def _imported(self, claim: Claim) -> Any:
        try:
            with diverted(), _told_if_slow(claim):
                return claim.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise broken(claim, f"importing it raised {_told(error)}") from error

    def _verified(self, claim: Claim, plugin: Any) -> Plugin:
        _check_api(claim, plugin)
        try:
            if not self._pluggy.is_registered(plugin):
                self._pluggy.register(plugin, f"{claim.group}:{claim.name}={claim.value}#{id(plugin)}")
            callers = self._pluggy.get_hookcallers(plugin) or []
        except Exception as error:  # it says which argument of which hook is wrong
            raise broken(claim, str(error)) from error
        found = {caller.name: impl for caller in callers for impl in caller.get_hookimpls() if impl.plugin is plugin}
        wrong = _wrong(claim, found)
        if wrong is not None:
            self._pluggy.unregister(plugin)
            raise broken(claim, wrong)
        return Plugin(claim, found)


def broken(claim: Claim, what: str, hint: str | None = None) -> PluginError:
    """The error that names a plugin, its distribution and its entry point, and says what is wrong with it."""
    distribution = owner(claim)
    return PluginError(
        f"{title(claim)} is broken: {what}\n  entry point: {claim.name} = {claim.value} [{claim.group}]",
        hint=hint or f"upgrade or uninstall {distribution.split()[0]}, or name it in plugins.disable",
        plugin=f"{claim.group}: {claim.name}",
        distribution=distribution,
        problem=what,
    )


def title(claim: Claim) -> str:
    """What people read of a plugin."""
    return f"the plugin {claim.name!r} of {owner(claim)}"


def owner(claim: Claim) -> str:
    """The distribution and its version."""
    return " ".join(distribution_of(claim))


def _check_api(claim: Claim, plugin: Any) -> None:
    offered = hookspecs.SAGE_API
    try:
        wanted = getattr(plugin, "sage_api", offered)
    except Exception as error:
        raise broken(claim, f"its sage_api raised {_told(error)}") from error
    if isinstance(wanted, bool) or not isinstance(wanted, int):
        raise broken(claim, f"its sage_api is {wanted!r}, not a whole number")
    if wanted > offered:
        what = f"it was written for version {wanted} of the plugin hooks, this SAGE offers {offered}"
        raise broken(claim, what, "upgrade sage-core, or install an older version of the plugin")
    if wanted < offered:
        what = f"it was written for version {wanted} of the plugin hooks, this SAGE needs {offered}"
        raise broken(claim, what, "upgrade the plugin")


def _wrong(claim: Claim, found: Mapping[str, pluggy.HookImpl]) -> str | None:
    """What is wrong with a plugin's implementations."""
    known = [hook for hooks in hookspecs.HOOKS.values() for hook in hooks]
    for name, impl in found.items():
        if name not in known:
            from sage.core.config.problems import nearest

            meant = nearest(name, known)
            return f"there is no hook {name}" + (f"; did you mean {meant}?" if meant else f": {', '.join(known)}")
        if impl.hookwrapper or impl.wrapper:
            return f"its {name} is a hook wrapper, and every plugin is called by itself"
        if inspect.iscoroutinefunction(impl.function) or inspect.isgeneratorfunction(impl.function):
            return f"its {name} is a coroutine or a generator, not a plain function"
    wanted = hookspecs.HOOKS[claim.group]
    if any(name in found for name in wanted):
        return None
    else_ = f"; it has {', '.join(sorted(found))}, which {claim.group} does not lead to" if found else ""
    return f"it has no {' or '.join(wanted)} marked with @hookimpl{else_}"


@contextmanager
def _told_if_slow(claim: Claim) -> Iterator[None]:
    if claim.info is None:  # it is our own
        yield
        return
    timer = threading.Timer(SLOW, _tell_slow, [claim])
    timer.name, timer.daemon = "sage-slow-plugin", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _tell_slow(claim: Claim) -> None:
    _log.warning("importing %s (%s = %s) takes more than %g s", title(claim), claim.name, claim.value, SLOW)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
