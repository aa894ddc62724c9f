"""The child that loads one plugin and tells how that went, for `sage plugins show` and `doctor`.

``python -m sage.cli.plugin_probe FD GROUP NAME VALUE DISTRIBUTION`` writes one JSON object to the descriptor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from sage.cli.plugin_commands import wrong_in
from sage.core.errors import PluginError
from sage.core.plugins.manager import PluginManager
from sage.core.plugins.metadata import Claim, find

__all__ = ["main"]

_MOST_SAID = 10_000  # characters: what is said has to find room in a pipe that is read at the end


def main(arguments: Sequence[str]) -> NoReturn:
    """Load the plugin that the arguments name. It never returns."""
    descriptor, *plugin = arguments
    found = find(*plugin)
    with os.fdopen(int(descriptor), "w") as answer:
        os.set_inheritable(int(descriptor), False)  # a process that the plugin starts would keep it open
        json.dump(_loaded(found), answer)
    sys.stdout.flush()
    os._exit(0)  # whatever the plugin has started shall not hold up the end


def _loaded(claim: Claim) -> dict[str, Any]:
    began = time.perf_counter()
    hooks: list[str] = []
    problems = []
    try:
        plugin = PluginManager().try_out(claim)
        hooks = sorted(plugin.hooks)
        if claim.group == "sage.commands":
            wrong = wrong_in(plugin.call("sage_command", {"name": claim.name}))
            problems += [wrong] if wrong else []
    except PluginError as error:
        problems.append((error.problem or error.message)[:_MOST_SAID])
    return {"hooks": hooks, "seconds": round(time.perf_counter() - began, 3), "problems": problems}


if __name__ == "__main__":
    main(sys.argv[1:])
