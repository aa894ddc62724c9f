"""The job process: the only place where a submitted package is opened.

Started by a shim as ``python -P -m sage.runtime.jobprocess <job folder>``::

    __main__ → main (the steps) → line (speaks with the shim), job (one run), failures (what went wrong, in words)
"""
