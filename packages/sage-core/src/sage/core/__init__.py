"""SAGE core: the API, the graph, the engine, the backends and the JobManager's client.

What may import what (left may import right, checked by a test)::

    testing → api → client → backends → engine → plan → graph → errors
    plugins → errors          config → errors

Doors for users and plugin authors: `sage.core.api`, `.client`, `.plugins`, `.backends.api`, `.errors`,
`.testing`.
Importing this package opens nothing and loads nothing.
"""
