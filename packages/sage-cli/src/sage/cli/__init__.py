"""The ``sage`` command.

What may import what (left may import right)::

    main → groups → registry        commands → context → render, failures        (all → sage.core, none → sage.runtime)

A command's module is imported when that command was chosen, and not before: names and one-line helps of all
commands are in `sage.cli.registry` (our own) or in the metadata of distributions (plugins').
"""
