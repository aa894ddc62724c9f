"""Conformance: what every backend and every connector has to keep, to be proven of one that somebody else wrote.

::

    pytest --pyargs sage.core.testing.conformance --sage-backend NAME [--sage-backend-option KEY=VALUE] …

Each promise is a function of one of the modules here, run by pytest against the backend that is named. It declares a
pipeline of functions that any process can import, runs it, and looks at what came of it; beyond that it watches what
backend and coordinator say to each other. Promises that need a capability are skipped where a backend does not declare
it. At the end a table tells which were kept; ``--sage-report FILE`` writes it as JSON. ::

    order, keys, flow, … (the promises) ← kit (runs pipelines) ← _probe (watches the backend)
                                                              ← _signals (between a test and its functions)
    _promises (what there is to keep) ← _plugin (for pytest) ← sage.core.testing.pytest_plugin
"""

from __future__ import annotations

from sage.core.testing.conformance._promises import Promise, promises

__all__ = ["Promise", "promises"]
