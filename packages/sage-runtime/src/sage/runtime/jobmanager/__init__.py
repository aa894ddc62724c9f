"""The JobManager daemon: takes submission packages, starts each job's shim, keeps the index of jobs, answers over HTTP.

Layout, in the order in which a request meets the modules: ``server`` (connections and their time-outs), ``guard``
(host, origin, token, sizes), ``app`` and ``routes_*`` (resources), ``submissions`` (package to durable job), ``store``
(the index), ``supervisor`` (queue, shims, adoption), ``chronicle`` (what happens to jobs, to everybody), ``records``
and ``joblog`` (what a job's folder tells), ``events`` (fan-out), ``session_log``; ``daemon`` puts them together,
``lifecycle`` starts and ends it.

What clients send is stored as opaque files. Nothing here unpickles, imports or evaluates any of it; these modules
import neither ``pickle`` nor ``cloudpickle``, nor anything of ``sage.core`` that does.
"""
