"""The commands that sage-runtime brings to ``sage``, as a plugin like any other.

Loaded by sage-cli alone, through the entry points ``sage.commands``: nothing else may import these modules, since
sage-runtime does not depend on Typer. `daemon` holds the work and knows no Typer; one-line helps are in
``sage_commands.json``.
"""
