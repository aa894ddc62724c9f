"""Which plugins are left alone: those that ``plugins.disable`` names, or, on request, all that strangers bring."""

from __future__ import annotations

import os
from typing import NamedTuple

from sage.core.errors import PluginError
from sage.core.plugins.metadata import Claim, canonical, distribution_of

__all__ = ["NOTHING", "NO_PLUGINS", "Disabled", "disabled"]

NO_PLUGINS = "SAGE_NO_PLUGINS"
"""The variable by which ``sage --no-plugins`` tells itself, and the programs that it runs."""

_OUR_OWN = frozenset({"sage-core", "sage-cli", "sage-runtime"})


class Disabled(NamedTuple):
    """What is left alone.

    Attributes:
        names: distributions and entry points.
        strangers: everything that SAGE's own distributions do not bring.
    """

    names: frozenset[str] = frozenset()
    strangers: bool = False

    def bars(self, claim: Claim) -> bool:
        """Whether a plugin is left alone."""
        if not self.names and not self.strangers:
            return False
        if claim.name in self.names:
            return True
        owner = canonical(distribution_of(claim)[0])
        return (self.strangers and owner not in _OUR_OWN) or owner in map(canonical, self.names)

    @property
    def by(self) -> str:
        """What says so, for people."""
        return "--no-plugins" if self.strangers else "plugins.disable"


NOTHING = Disabled()


def disabled() -> Disabled:
    """What the configuration and the environment say.

    Raises:
        ConfigError: the configuration says something of disabled plugins and is wrong.
        PluginError: it cannot be read.
    """
    return Disabled(frozenset(_names()), bool(os.environ.get(NO_PLUGINS)))


def _names() -> tuple[str, ...]:
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
