"""From a model to what is printed.

For people: `views` and `jobs` turn a model into `parts`, which `plain` or `rich_` writes, cleaned by `text`.
For machines: `envelope` makes one document, which `documents` writes.
"""
