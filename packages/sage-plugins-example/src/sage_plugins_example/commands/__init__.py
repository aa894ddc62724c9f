"""Commands for `sage`: each module is what an entry point of the group ``sage.commands`` leads to.

Their one-line helps are in ``sage_commands.json`` beside them, so that `sage --help` imports none of them.
"""
