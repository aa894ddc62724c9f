"""For tests: a pipeline run under a schedule that a seed decides, on one thread, in virtual time; connectors tried out.

::

    simulate(env, seed=17) ← _backend ← _turns (who is next)
                                      ← _actors (what happens) ← _channel (what is on its way)

_choices, which draws from the seed, is below all of them. ::

    run_operator(operator, steps) ← _harness ← the backend ``inline``
                                             ← _steps (what a test gives and finds)
    script(env, steps) ← the same _steps, as a connector

Nothing else in SAGE imports this package.
"""

from __future__ import annotations

from sage.core.testing._harness import Harness, Snapshot, run_operator
from sage.core.testing._script import script
from sage.core.testing._simulate import Simulation, simulate
from sage.core.testing._steps import At, End, Fail, Forever, Idle, Input, Pause, Side, Watermark
from sage.core.testing._virtual import virtual_environment
from sage.core.testing.connectors import check_sink, check_source

__all__ = [
    "At",
    "End",
    "Fail",
    "Forever",
    "Harness",
    "Idle",
    "Input",
    "Pause",
    "Side",
    "Simulation",
    "Snapshot",
    "Watermark",
    "check_sink",
    "check_source",
    "run_operator",
    "script",
    "simulate",
    "virtual_environment",
]
