"""Points in time as SAGE writes them everywhere: RFC 3339 in UTC, with milliseconds, ``2026-03-01T12:30:00.125Z``."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["now", "parse", "written"]


def now() -> str:
    """The present time."""
    return written(datetime.now(UTC))


def written(time: datetime) -> str:
    """An aware ``time`` as text."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse(text: str) -> datetime:
    """The time that ``text`` stands for, in UTC; one without an offset is taken to be UTC.

    Raises:
        ValueError: it is no time.
    """
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
