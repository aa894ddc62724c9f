"""For tests: a pipeline run under a schedule that a seed decides, on one thread, in virtual time; connectors tried out.

::

    simulate(env, seed=17) ← _backend ← _turns (who is next)
                                      ← _actors (what happens) ← _channel (what is on its way)

_choices, which draws from the seed, is below all of them. ::

    run_operator(operator, steps) ← _harness ← the backend ``inline``
                                             ← _steps (what a test gives and finds)
    script(env, steps) ← the same _steps, as a connector

pytest loads `pytest_plugin` at its start wherever SAGE is installed, so that importing this package loads nothing: its
names are found when they are asked for. Nothing else in SAGE imports it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage.core.testing._collecting import CollectingSink
    from sage.core.testing._harness import Harness, Snapshot, run_operator
    from sage.core.testing._jobmanager import ThrowAwayJobManager
    from sage.core.testing._script import script
    from sage.core.testing._simulate import Simulation, simulate
    from sage.core.testing._steps import At, End, Fail, Forever, Idle, Input, Pause, Side, Watermark
    from sage.core.testing._virtual import virtual_environment
    from sage.core.testing.connectors import SinkConformance, SourceConformance, check_sink, check_source

__all__ = [
    "At",
    "CollectingSink",
    "End",
    "Fail",
    "Forever",
    "Harness",
    "Idle",
    "Input",
    "Pause",
    "Side",
    "Simulation",
    "SinkConformance",
    "Snapshot",
    "SourceConformance",
    "ThrowAwayJobManager",
    "Watermark",
    "check_sink",
    "check_source",
    "run_operator",
    "script",
    "simulate",
    "virtual_environment",
]

_PLACES = {
    "CollectingSink": "_collecting",
    "Harness": "_harness",
    "Simulation": "_simulate",
    "SinkConformance": "connectors",
    "SourceConformance": "connectors",
    "Snapshot": "_harness",
    "ThrowAwayJobManager": "_jobmanager",
    "check_sink": "connectors",
    "check_source": "connectors",
    "run_operator": "_harness",
    "script": "_script",
    "simulate": "_simulate",
    "virtual_environment": "_virtual",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_PLACES.get(name, '_steps')}"), name)
    globals()[name] = found
    return found
