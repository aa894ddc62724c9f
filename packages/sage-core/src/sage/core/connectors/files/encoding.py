"""Encodings in which the end of a line can be told from its bytes alone."""

from __future__ import annotations

import codecs

from sage.core.errors import ConnectorError

__all__ = ["check_encoding", "mark_of", "split_lines", "undecodable", "undecodable_hint", "unencodable"]

_PLAIN = "".join(map(chr, range(32, 127))) + "\r\n"

_WITH_MODES = ("iso2022", "raw_unicode_escape")
"""What a line means depends on lines before it, or a line end may be written as something else."""


def check_encoding(name: str) -> str:
    """The name of a codec that writes ASCII as single bytes; ``utf-8-sig`` is UTF-8 that may begin with a mark.

    Raises:
        ConnectorError: there is no such encoding, or its lines cannot be told apart.
    """
    try:
        codec = codecs.lookup(name)
        usable = codec.name == "utf-8-sig" or (
            _PLAIN.encode(name) == _PLAIN.encode("ascii") and not codec.name.startswith(_WITH_MODES)
        )
    except (LookupError, TypeError, UnicodeError) as error:
        raise ConnectorError(f"there is no text encoding {name!r}", hint="for example 'utf-8' or 'latin-1'") from error
    if not usable:
        raise ConnectorError(
            f"files in {name!r} cannot be read or written line by line", hint="convert them to UTF-8 first"
        )
    return codec.name


def mark_of(encoding: str) -> tuple[str, bytes]:
    """The codec of the text itself, and the mark that may stand before it."""
    return ("utf-8", codecs.BOM_UTF8) if encoding == "utf-8-sig" else (encoding, b"")


def split_lines(block: bytes, encoding: str) -> list[str]:
    """The text of the lines of ``block``, without their ends (``\\n`` or ``\\r\\n``), decoded in one go.

    Raises:
        ValueError: it cannot be decoded.
    """
    text = block.decode(encoding)
    if "\r\n" in text:
        text = text.replace("\r\n", "\n")
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return found


def undecodable(error: UnicodeDecodeError) -> ValueError:
    """The same error in words for people."""
    byte = error.object[error.start]
    return ValueError(f"not {_title(error.encoding)}: byte 0x{byte:02x} at {error.start + 1}: {error.reason}")


def undecodable_hint(path: str) -> str:
    """What to do about a file that is not in the encoding it is read in."""
    if path.endswith((".gz", ".bz2", ".xz", ".zip", ".zst")):
        return "the file is packed: unpack it first"
    return "give its encoding=, for example 'latin-1', or convert it to UTF-8 (JSON Lines always are)"


def unencodable(error: UnicodeEncodeError) -> str:
    """The error in words for people."""
    character = error.object[error.start]
    return f"U+{ord(character):04X} at {error.start + 1} has no place in {_title(error.encoding)}"


def _title(encoding: str) -> str:
    return {"utf-8": "UTF-8", "ascii": "ASCII"}.get(encoding, encoding)
