"""The directory and its audit log in SQL, never on the hot path.

A process keeps the directory that it read or wrote last, with its version. So it reads all keys again only after
another process changed something, and holds each key once.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from services.chassis.audit import append_entries
from services.chassis.authorship import write_actor
from services.chassis.requests import forget, forget_actors, recall, remember
from services.kernel.change import AuditEntry
from services.kernel.errors import Unavailable
from services.kernel.repetition import Answered, Repeatable
from services.quota.adapters.directory_tables import (
    AUDIT,
    REQUESTS,
    SNAPSHOTS,
    in_order,
    keep_names,
    load_directory,
    table_differences,
)
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import Answering, Contended, RecordedChange

A = TypeVar("A")

_DIRECTORY = "directory"


class SqlDirectory:
    """`ports.DirectoryStore` over an engine whose tables exist."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._changing = threading.Lock()
        self._version = ""
        self._kept = _Kept("", Directory())

    def load(self) -> Directory:
        """The stored directory."""
        with _transaction(self._engine) as connection:
            return self._stored(connection).directory

    def newer(self) -> Directory | None:
        """The stored directory if it is newer than the one last returned here or from `replace`; else None."""
        with self._changing, _transaction(self._engine) as connection:
            version = _version(connection)
            if version == self._version:
                return None
            self._version, directory = self._stored(connection)
            return directory

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """The first request with this id and its answer; None if the id is new."""
        return _recall(self._engine, request, kind, now_ms)

    def forget_requests(self, now_ms: int) -> None:
        """Forgets old requests, so that nobody can derive their secrets any more."""
        with _transaction(self._engine) as connection:
            forget(connection, REQUESTS, now_ms)

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        """Stores what `change` makes of the directory, with its audit entries, in one transaction."""
        with self._changing, _transaction(self._engine) as connection:
            seen, before = self._stored(connection)
            after, entries = change(before)
            answered = answering(after) if answering is not None else None
            # From the mark on, the reservation of every call waits for this transaction. So all else comes before it,
            # and only differences after it.
            differences = table_differences(before, after)
            version = _mark(connection, seen)
            for difference in differences:
                difference.write(connection)
            keep_names(connection, after)
            append_entries(connection, AUDIT, entries)
            forget_actors(connection, REQUESTS, _revoked(before, after))
            if answered is not None:
                remember(connection, REQUESTS, answered)
        self._version = version
        self._kept = _Kept(version, in_order(after))
        return after

    def _stored(self, connection: sa.Connection) -> _Kept:
        # We read the version first, so that we load a change in between once more and do not miss it.
        version = _version(connection)
        kept = self._kept
        # Without a version nobody has written anything yet.
        if not version or version != kept.version:
            kept = self._kept = _Kept(version, load_directory(connection))
        return kept


class _Kept(NamedTuple):
    """A directory as it is stored, and its version."""

    version: str
    directory: Directory


class SqlAuditTrail:
    """`ports.AuditTrail` over an engine whose tables exist."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """The first request with this id and its answer; None if the id is new."""
        return _recall(self._engine, request, kind, now_ms)

    def append(self, entries: Sequence[AuditEntry], answered: Answered[object] | None = None) -> None:
        """Adds entries about changes outside the directory, and remembers their request, in one transaction."""
        with _transaction(self._engine) as connection:
            append_entries(connection, AUDIT, entries)
            if answered is not None:
                remember(connection, REQUESTS, answered)


class SqlSnapshots:
    """`ports.SnapshotStore` over an engine whose tables exist."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces the snapshot under `name`."""
        with _transaction(self._engine) as connection:
            connection.execute(sa.delete(SNAPSHOTS).where(SNAPSHOTS.c.name == name))
            connection.execute(sa.insert(SNAPSHOTS), {"name": name, "version": version, "body": body})

    def load(self, name: str) -> bytes | None:
        """The snapshot under `name`; None if there never was one."""
        with _transaction(self._engine) as connection:
            body: bytes | None = connection.scalar(sa.select(SNAPSHOTS.c.body).where(SNAPSHOTS.c.name == name))
            return body


def _version(connection: sa.Connection) -> str:
    """The version of the stored directory; empty if nobody has written one."""
    return connection.scalar(sa.select(SNAPSHOTS.c.version).where(SNAPSHOTS.c.name == _DIRECTORY)) or ""


def _mark(connection: sa.Connection, seen: str) -> str:
    """Gives the directory a new version for other readers. It takes the lock of the file."""
    version = uuid.uuid4().hex
    fresh = {"name": _DIRECTORY, "version": "", "body": b""}
    connection.execute(sa.insert(SNAPSHOTS).prefix_with("OR IGNORE"), fresh)
    here = (SNAPSHOTS.c.name == _DIRECTORY) & (SNAPSHOTS.c.version == seen)
    if connection.execute(sa.update(SNAPSHOTS).where(here).values(version=version)).rowcount != 1:
        raise Contended("another process changed the directory at the same time: try again")
    return version


@contextmanager
def _transaction(engine: sa.Engine) -> Any:
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.OperationalError as error:
        raise Unavailable(f"the directory cannot be read or written: {error.orig}") from error
    except sa.exc.IntegrityError as error:
        # Our own statements never collide, so another process wrote the same rows first.
        raise Contended(f"another process wrote at the same time, try again: {error.orig}") from error


def _recall(engine: sa.Engine, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
    with _transaction(engine) as connection:
        return recall(connection, REQUESTS, request, kind, now_ms)


def _revoked(before: Directory, after: Directory) -> list[str]:
    """The actors whose admin tokens a change takes away."""
    kept = {token.digest for token in after.tokens}
    return [write_actor(token.actor) for token in before.tokens if token.digest not in kept]
