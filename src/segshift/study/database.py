"""An SQLite file: transactions that are all or nothing, rows as mappings, and every error in one line with what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, final

from segshift.errors import DiskFullError, TrainingError, WeightsError

Row = dict[str, Any]
WAIT = 30.0
"""Seconds to wait for another program that writes the file."""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLITE_ERROR: a table or column that should be there is not."""


@final
class Database:
    """An open file, created where there is none. Every function raises WeightsError where the file is damaged and TrainingError where it
    cannot be read or written now.

    While it is written (`begin_writing`), changes go to a write-ahead log: a change costs no wait for the disk, and who reads the file holds
    nobody up, nor is held up. A power cut may cost the last changes but leaves a sound file. Closing takes the log in: one file remains, which
    can be read from a read-only folder too. After a process was killed its log lies beside the file, and the next opening takes it in.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = False
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        try:
            self.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            self.close()
            raise

    def begin_writing(self) -> None:
        """Makes changes fast."""
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")
        self._writing = True

    def close(self) -> None:
        """Closes the file."""
        if self._writing:
            with suppress(sqlite3.Error):  # somebody else has it open: the last one to close it takes the log in
                self._connection.execute("PRAGMA busy_timeout = 0")
                self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()

    def rows(self, query: str, *values: Any) -> list[Row]:
        """All rows that a query gives, by the names of its columns."""
        with self._explained(), closing(self._connection.execute(query, values)) as cursor:
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def execute(self, statement: str, *values: Any) -> None:
        """A statement that gives no rows."""
        with self._explained():
            self._connection.execute(statement, values).close()

    def insert(self, table: str, rows: Sequence[Row]) -> int:
        """New rows, all with the columns of the first; returns the rowid of the only one, 0 where there are several."""
        if not rows:
            return 0
        columns = list(rows[0])
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"
        with self._explained():
            if len(rows) == 1:
                return self._connection.execute(statement, rows[0]).lastrowid or 0
            self._connection.executemany(statement, rows)
        return 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is inside, or nothing of it."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have rolled it back already
                self.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Reads the whole file; WeightsError where it is damaged."""
        problems = [str(next(iter(row.values()))) for row in self.rows("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise self.damaged(" ".join(problems[0].split()))

    def damaged(self, why: str) -> WeightsError:
        """The error for contents that cannot be right."""
        return WeightsError(f"{self.path} is damaged ({why}): run the study again (segshift study FILE), which makes it anew from the run folders")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # ours
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            again = "then run the same command again; what the file holds is kept, and so are the run folders"
            if code == sqlite3.SQLITE_FULL:
                raise DiskFullError(f"cannot write {self.path}, the disk is full: free some space, {again}") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise TrainingError(f"{self.path} is in use by another program: close it there, {again}") from error
            if code in DAMAGED:
                raise self.damaged(str(error)) from error
            raise TrainingError(f"cannot use {self.path} ({error}): check its folder, {again}") from error
