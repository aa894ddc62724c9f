"""The shim: the small process that owns one job, and what the daemon needs to deal with it.

The shim starts the job process, owns its pipes, keeps its log, writes its truth (``events.jsonl``), cancels it and
waits for it, so that the daemon may come and go. It runs as ``python -I -S <its __main__.py> <job folder>`` on the
standard library alone: ``__main__`` registers ``sage`` and ``sage.runtime`` as bare packages that lead here, hence
the modules below import each other by their full names both in the shim and in the daemon.

Run by the shim (nothing but the standard library, and little of that, since it must start fast and stay small)::

    main (steps) → supervisor (one job's states) → child (fork, exec), control (line to the job process), server (its
    clients), outbox (events that wait for the disk), metrics, log, escalation and sweeper (ending it), failure
    → events, files, processes, sweep, environment, loop, notes

Imported by the daemon only: `start` (start a shim), `client` (talk to it), `log_reader` (read its log).
Shared: `events`, `processes`, `files`, `sweep`, `environment`.

Modules of the first group have no `typing`, `dataclasses` or `subprocess` at run time: together they cost as much as
all the rest.
"""
