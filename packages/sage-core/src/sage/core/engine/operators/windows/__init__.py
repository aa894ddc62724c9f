"""``window(…).reduce``, ``.aggregate`` and ``.process``: one module per way of keeping what windows hold."""
