"""For tests: a pipeline run under a schedule that a seed decides, on one thread, in virtual time; connectors tried out.

::

    simulate(env, seed=17) ← _backend ← _turns (who is next)
                                      ← _actors (what happens) ← _channel (what is on its way)

_choices, which draws from the seed, is below all of them.

Nothing else in SAGE imports this package.
"""

from __future__ import annotations

from sage.core.testing._simulate import Simulation, simulate
from sage.core.testing.connectors import check_sink, check_source

__all__ = ["Simulation", "check_sink", "check_source", "simulate"]
