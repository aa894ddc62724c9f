"""The index of jobs: one SQLite database, one thread that writes it, one that reads it.

The database is an index: what a job is and went through is in its folder. A row says which jobs were acknowledged,
gives each its number (once, never again), and answers lists without opening a thousand files.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from sage.core.errors import AmbiguousRefError, NotFoundError
from sage.core.models import ENDED_STATES, FailureInfo
from sage.runtime.jobmanager.database import DatabaseThread, StoreError, Work, connect

__all__ = ["NewJob", "Query", "Row", "Store"]

T = TypeVar("T")

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE jobs (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid          TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    backend       TEXT NOT NULL,
    owner         TEXT NOT NULL,
    options       TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    state         TEXT NOT NULL,
    mark          TEXT,
    reason        TEXT,
    seq           INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    restarts      INTEGER NOT NULL DEFAULT 0,
    created_at    TEXT NOT NULL,
    started_at    TEXT,
    ended_at      TEXT,
    tasks         INTEGER NOT NULL DEFAULT 0,
    services      INTEGER NOT NULL DEFAULT 0,
    records_in    INTEGER NOT NULL DEFAULT 0,
    records_out   INTEGER NOT NULL DEFAULT 0,
    failure       TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_name ON jobs (name, number);
"""
_PREFIX = re.compile(r"[0-9a-f][0-9a-f-]{3,35}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_SHOWN_MATCHES = 5


@dataclass(frozen=True)
class NewJob:
    """What a submission adds to the index."""

    uuid: str
    name: str
    backend: str
    owner: str
    options: Mapping[str, Any]
    sha256: str
    created_at: str


@dataclass(frozen=True)
class Row:
    """One job of the index; the fields are the columns."""

    number: int
    uuid: str
    name: str
    backend: str
    owner: str
    options: Mapping[str, Any]
    sha256: str
    state: str
    mark: str | None
    reason: str | None
    seq: int
    attempt: int
    epoch: int
    restarts: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    tasks: int
    services: int
    records_in: int
    records_out: int
    failure: FailureInfo | None

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class Query:
    """Which jobs a list holds; newest first, ``before`` is the number at which the last page ended."""

    states: Sequence[str] = ()
    name: str | None = None
    owner: str | None = None
    before: int | None = None
    limit: int = 100


_COLUMNS = tuple(item.name for item in fields(Row))
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608 - the names of this module's own dataclass
_UPDATABLE = frozenset(_COLUMNS) - {"number", "uuid", "name", "backend", "owner", "options", "sha256", "created_at"}


class Store:
    """Opens the index; `submit`, `update` and the look-ups may be awaited from one event loop.

    Args:
        path: the database.
        jobs: the folder of jobs; where it holds started jobs and there is no database, that has been lost.

    Raises:
        StoreError: the database is lost, damaged, unreadable, or of a newer SAGE.
    """

    def __init__(self, path: Path, *, jobs: Path) -> None:
        existed = path.exists()
        if not existed:
            _refuse_to_forget(path, jobs)
        with _Explained(path):
            writer = connect(path)
            _migrate(writer, path, existed)
            reader = connect(path)
            reader.execute("PRAGMA query_only = ON")
        self._writer = DatabaseThread("store-writer", writer, writes=True)
        self._reader = DatabaseThread("store-reader", reader, writes=False)

    def close(self, timeout: float = 10.0) -> None:
        """Finish what was asked, then close both connections."""
        self._writer.stop(timeout)
        self._reader.stop(timeout)

    async def submit(self, job: NewJob) -> tuple[Row, bool]:
        """Add a job in state ``submitted``; the row, and whether it is new (False: this uuid was there)."""
        return await self._write(lambda connection: _submit(connection, job))

    async def update(self, number: int, **columns: Any) -> Row | None:
        """Set columns of a job; the new row, or None if it is gone."""
        unknown = columns.keys() - _UPDATABLE
        if unknown:
            raise ValueError(f"no columns that may be set: {', '.join(sorted(unknown))}")
        return await self._write(lambda connection: _update(connection, number, columns))

    async def delete(self, number: int) -> bool:
        return await self._write(
            lambda connection: connection.execute("DELETE FROM jobs WHERE number = ?", (number,)).rowcount > 0
        )

    async def by_uuid(self, uuid: str) -> Row | None:
        return await self._read(lambda connection: _one(connection, "uuid = ?", uuid))

    async def find(self, ref: str) -> Row:
        """The job that a number, a uuid or a unique prefix of at least four characters names.

        Raises:
            NotFoundError: no job, or no such form of reference.
            AmbiguousRefError: a prefix that fits several; ``matches`` holds some of them.
        """
        return await self._read(lambda connection: _find(connection, ref))

    async def page(self, query: Query) -> list[Row]:
        return await self._read(lambda connection: _page(connection, query))

    async def unfinished(self) -> list[Row]:
        """All jobs that have not ended, oldest first."""
        marks = ", ".join("?" * len(ENDED_STATES))
        sql = f"{_SELECT} WHERE state NOT IN ({marks}) ORDER BY number"
        return await self._read(lambda connection: [_row(item) for item in connection.execute(sql, (*ENDED_STATES,))])

    async def uuids(self) -> set[str]:
        return await self._read(lambda connection: {item[0] for item in connection.execute("SELECT uuid FROM jobs")})

    async def ping(self) -> None:
        """Return once both threads have answered."""
        await self._read(lambda connection: connection.execute("SELECT 1").fetchone())
        await self._write(lambda connection: connection.execute("SELECT 1").fetchone())

    async def count(self) -> int:
        return await self._read(lambda connection: int(connection.execute("SELECT count(*) FROM jobs").fetchone()[0]))

    async def count_by_state(self) -> dict[str, int]:
        sql = "SELECT state, count(*) FROM jobs GROUP BY state"
        return await self._read(lambda connection: dict(connection.execute(sql).fetchall()))

    async def _write(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._writer.ask(work))

    async def _read(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._reader.ask(work))


class _Explained:
    """Turns what SQLite says while opening into a StoreError that says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, sqlite3.Error | OSError):
            raise StoreError(
                f"the index of jobs {self._path} cannot be opened: {error}",
                hint="restore it with its -wal file from a copy, or move it and the folder jobs/ away to begin anew",
                path=str(self._path),
            ) from error


def _refuse_to_forget(path: Path, jobs: Path) -> None:
    """Never begin with an empty index where there are jobs: their numbers would be given again."""
    found = sum(1 for entry in jobs.glob("*/job.json")) if jobs.is_dir() else 0
    if found:
        raise StoreError(
            f"the index of jobs {path} is missing, but {jobs} holds {found} jobs",
            hint="restore it from a copy, or move the folder jobs/ away to begin anew",
            path=str(path),
        )


def _migrate(connection: sqlite3.Connection, path: Path, existed: bool) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is damaged ({found})")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise StoreError(
            f"the index of jobs {path} is of a newer SAGE (format {version}, this one knows {_SCHEMA_VERSION})",
            hint="start the newer JobManager again",
            path=str(path),
        )
    if version == 0:
        if existed and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{path} is no index of jobs", hint="move the file away", path=str(path))
        connection.executescript(f"BEGIN;\n{_SCHEMA}\nPRAGMA user_version = {_SCHEMA_VERSION};\nCOMMIT;")


def _submit(connection: sqlite3.Connection, job: NewJob) -> tuple[Row, bool]:
    found = _one(connection, "uuid = ?", job.uuid)
    if found is not None:
        return found, False
    connection.execute(
        "INSERT INTO jobs (uuid, name, backend, owner, options, sha256, state, seq, attempt, epoch, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'submitted', 1, 1, 0, ?)",
        (job.uuid, job.name, job.backend, job.owner, json.dumps(dict(job.options)), job.sha256, job.created_at),
    )
    row = _one(connection, "uuid = ?", job.uuid)
    assert row is not None
    return row, True


def _update(connection: sqlite3.Connection, number: int, columns: Mapping[str, Any]) -> Row | None:
    values = [json.dumps(v.to_json()) if isinstance(v, FailureInfo) else v for v in columns.values()]
    assignments = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(f"UPDATE jobs SET {assignments} WHERE number = ?", (*values, number))  # noqa: S608 - names checked
    return _one(connection, "number = ?", number)


def _one(connection: sqlite3.Connection, condition: str, value: Any) -> Row | None:
    found = connection.execute(f"{_SELECT} WHERE {condition}", (value,)).fetchone()
    return None if found is None else _row(found)


def _row(values: Sequence[Any]) -> Row:
    named = dict(zip(_COLUMNS, values, strict=True))
    named["options"] = json.loads(named["options"])
    if named["failure"] is not None:
        named["failure"] = FailureInfo.from_json(json.loads(named["failure"]))
    return Row(**named)


def _find(connection: sqlite3.Connection, ref: str) -> Row:
    if _NUMBER.fullmatch(ref):
        row = _one(connection, "number = ?", int(ref))
        if row is not None:
            return row
    prefix = ref.lower()
    rows: list[Row] = []
    if _PREFIX.fullmatch(prefix):
        # The character after the last one that a uuid may hold ends the range; both bounds use the index.
        sql = f"{_SELECT} WHERE uuid >= ? AND uuid < ? ORDER BY number LIMIT {_SHOWN_MATCHES + 1}"
        rows = [_row(item) for item in connection.execute(sql, (prefix, prefix + "g"))]
    if not rows:
        raise NotFoundError(
            f"there is no job {ref[:64]!r}",
            hint="a job is named by its number, its uuid, or a unique beginning of it with at least 4 characters",
        )
    if len(rows) > 1:
        matches = [f"{row.number} ({row.uuid})" for row in rows[:_SHOWN_MATCHES]]
        more = " and more" if len(rows) > _SHOWN_MATCHES else ""
        raise AmbiguousRefError(
            f"{ref!r} fits several jobs: {', '.join(matches)}{more}",
            hint="give more characters of the uuid, or the number",
            matches=[row.uuid for row in rows[:_SHOWN_MATCHES]],
        )
    return rows[0]


def _page(connection: sqlite3.Connection, query: Query) -> list[Row]:
    conditions: list[str] = []
    values: list[Any] = []
    if query.states:
        conditions.append(f"state IN ({', '.join('?' * len(query.states))})")
        values.extend(query.states)
    for column, value in (("name", query.name), ("owner", query.owner)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.before is not None:
        conditions.append("number < ?")
        values.append(query.before)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"{_SELECT}{where} ORDER BY number DESC LIMIT ?"
    return [_row(item) for item in connection.execute(sql, (*values, query.limit))]
