"""Makes text from jobs safe to print: job names, exceptions and log lines are written by others and hostile.

A terminal obeys what it is sent: escape sequences retitle windows, hide text, answer questions in the user's
name. So outside of raw log output every control character is shown instead of sent.
"""

from __future__ import annotations

import re

__all__ = ["LogFilter", "clean", "clean_block"]

# C0 and C1 controls, DEL, line and paragraph separators, what reorders text, and lone surrogates.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_LINE = f"[{_UNSAFE}]"
_BLOCK = f"(?![\n\t])[{_UNSAFE}]"
# In logs carriage returns stay (progress bars live on them), and so do colours: the group matches what is kept.
_LOG = f"(\x1b\\[[0-9;:]{{0,64}}m)|(?![\n\t\r])[{_UNSAFE}]"
_UNFINISHED = "\x1b(\\[[0-9;:]{0,64})?$"
_RESET = "\x1b[0m"


def clean(text: str) -> str:
    """The text as one printable line: what a terminal would obey appears as an escape such as ``\\x1b``."""
    return text if text.isprintable() else re.sub(_LINE, _visible, text)


def clean_block(text: str) -> str:
    """The same for text of several lines: line ends and tabs stay."""
    return text if text.isprintable() else re.sub(_BLOCK, _visible, text)


class LogFilter:
    """Log output as it may go to a terminal: colours pass, every other control is shown instead of obeyed.

    Feed it pieces as they come; a sequence cut in two by the pieces is put together again.
    """

    def __init__(self) -> None:
        self._held = ""
        self._coloured = False

    def feed(self, text: str) -> str:
        """What may be printed of this piece now."""
        text = self._held + text
        cut = re.search(_UNFINISHED, text)
        self._held = text[cut.start() :] if cut else ""
        return re.sub(_LOG, self._replace, text[: cut.start()] if cut else text)

    def close(self) -> str:
        """What is left at the end: a sequence that never ended, and the reset of colours if any passed."""
        rest = clean_block(self._held)
        self._held = ""
        return rest + (_RESET if self._coloured else "")

    def _replace(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return _visible(match)
        self._coloured = True
        return match[1]


def _visible(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
