"""The connector ``table``: rows of an SQLite table, read in the order of their row ids, or written by key.

::

    env.from_connector("table", database="shop.db", table="orders")
    stream.to_connector("table", database="shop.db", table="bills", key="order")

A record is a dictionary from column to value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sage.core.connectors.api import STOP, ConnectorError, Delivery, Later, RecordError, Sink, StopType
from sage.core.plugins import hookimpl

__all__ = ["TableConnector", "TableReader", "TableSink", "TableSource", "sage_connector"]

_LONGEST_WAIT = 30.0
"""Seconds to wait for others who write to the same database."""


class TableSource:
    """Reads a table, which is one partition.

    Args:
        database: the file.
        table: its name.
        follow: seconds after which to look for new rows once all were read, over and over; None to end there.
    """

    def __init__(self, database: str, table: str, follow: float | None = None) -> None:
        self.database = database
        self.table = table
        self.follow = follow
        self.bounded = follow is None

    def partitions(self) -> Sequence[str]:
        if not Path(self.database).is_file():  # SQLite would make it
            raise ConnectorError(f"there is no database {self.database}")
        with _named(self.database), closing(_connect(self.database)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [self.table]).fetchone():
                known = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                raise ConnectorError(
                    f"{self.database} has no table {self.table!r}",
                    hint=f"it has {', '.join(known)}" if known else "it has none: is it the right file?",
                )
        return [self.table]

    def open(self, partition: str, position: object | None) -> TableReader:
        return TableReader(self.database, partition, position if isinstance(position, int) else None, self.follow)


class TableReader:
    """Reads on behind a row. Rows that are changed or removed later do not matter to it."""

    def __init__(self, database: str, table: str, after: int | None, follow: float | None) -> None:
        self._database = database
        rows = f"SELECT rowid, * FROM {_quoted(table)}"  # noqa: S608  (names cannot be parameters: they are quoted)
        self._query = f"{rows} WHERE ? IS NULL OR rowid > ? ORDER BY rowid LIMIT ?"
        self._after = after
        self._follow = follow
        with _named(database):
            self._connection = _connect(database)

    def read(self, n: int) -> list[Any] | StopType | Later:
        with _named(self._database):
            cursor = self._connection.execute(self._query, [self._after, self._after, n])
            rows = cursor.fetchall()
        if not rows:
            return STOP if self._follow is None else Later(self._follow)
        self._after = rows[-1][0]
        columns = [column for column, *_ in cursor.description[1:]]
        return [dict(zip(columns, values, strict=True)) for _, *values in rows]

    def position(self) -> object:
        return self._after

    def wait(self, timeout: float) -> None:
        """Nothing tells when there are new rows; `read` says when it wants to look again."""

    def close(self) -> None:
        self._connection.close()


class TableSink(Sink):
    """Writes rows by key: a record that comes again, as after a failure, replaces the row it has written before.

    Args:
        database: the file; made if it is not there.
        table: its name; made of the first record's columns if it is not there.
        key: the column by which rows are told apart.
    """

    delivery: Delivery = "idempotent"

    def __init__(self, database: str, table: str, key: str) -> None:
        self.database = database
        self.table = table
        self.key = key
        self._connection: sqlite3.Connection | None = None

    def open(self, context: Any) -> None:
        with _named(self.database):
            self._connection = _connect(self.database)

    def write(self, records: list[Any]) -> None:
        assert self._connection is not None
        for record in records:
            if not isinstance(record, Mapping) or self.key not in record:
                raise RecordError(f"a row needs a mapping with {self.key!r}, not {record!r:.100}", record=record)
        with _named(self.database), self._connection:  # one transaction: all of the batch is written, or nothing
            self._connection.execute("BEGIN IMMEDIATE")
            for record in records:
                self._put(self._connection, record)

    def _put(self, connection: sqlite3.Connection, record: Mapping[str, Any]) -> None:
        others = [column for column in record if column != self.key]
        columns = ", ".join(map(_quoted, [self.key, *others]))
        kept = ", ".join(f"{_quoted(column)} = excluded.{_quoted(column)}" for column in others)
        table, key = _quoted(self.table), _quoted(self.key)
        declared = ", ".join([f"{key} PRIMARY KEY", *map(_quoted, others)])
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({declared})")
        connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * (1 + len(others)))})"  # noqa: S608  (quoted)
            f" ON CONFLICT ({key}) DO {f'UPDATE SET {kept}' if kept else 'NOTHING'}",
            [record[self.key], *(record[column] for column in others)],
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class TableConnector:
    """Both directions, by name."""

    def source(self, **options: Any) -> TableSource:
        return TableSource(**options)

    def sink(self, **options: Any) -> TableSink:
        return TableSink(**options)


def _connect(database: str) -> sqlite3.Connection:
    # One thread uses a connection at a time, but it need not be the one that has opened it.
    return sqlite3.connect(database, timeout=_LONGEST_WAIT, isolation_level=None, check_same_thread=False)


@contextmanager
def _named(database: str) -> Iterator[None]:
    """What SQLite raises names neither the file nor what could be done."""
    try:
        yield
    except sqlite3.Error as error:
        raise ConnectorError(f"{database}: {error}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@hookimpl
def sage_connector() -> TableConnector:
    return TableConnector()
