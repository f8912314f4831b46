"""The directory and its audit log in SQL. Quota reads it at start and at each change, and never on the hot path."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from services.chassis.audit import append_entries, audit_table
from services.chassis.authorship import write_actor
from services.chassis.requests import forget, forget_actors, recall, remember, requests_table
from services.kernel.change import AuditEntry, Role
from services.kernel.errors import Unavailable
from services.kernel.repetition import Answered, Repeatable
from services.quota.adapters.directory_rows import Row, key_row, policy_row, read_key, read_policy, read_team, team_row
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.key import RetiredSecret
from services.quota.domain.identity.team import Environment
from services.quota.domain.policies.override import Override
from services.quota.ports.directory import Answering, Contended, RecordedChange

A = TypeVar("A")
T = TypeVar("T")

METADATA = sa.MetaData()
_organizations = sa.Table("organizations", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name"))
_environments = sa.Table("environments", METADATA, sa.Column("name", primary_key=True))
_teams = sa.Table("teams", METADATA, sa.Column("name", primary_key=True), sa.Column("projects"), sa.Column("members"))
_policies = sa.Table("policies", METADATA, sa.Column("name", primary_key=True), sa.Column("body"))
_keys = sa.Table(
    "virtual_keys",
    METADATA,
    sa.Column("name", primary_key=True),
    *(sa.Column(name) for name in ("key_id", "team", "project", "environment", "user", "models")),
    sa.Column("disabled", sa.Boolean),
    *(sa.Column(name) for name in ("expire_at_ms", "create_at_ms", "hint")),
    sa.Column("declared", sa.Boolean),
    *(sa.Column(name) for name in ("digest", "old_digest", "old_until_ms")),
    sa.Column("unlimited", sa.Boolean),
)
_retired = sa.Table(
    "retired_secrets",
    METADATA,
    sa.Column("digest", primary_key=True),
    *(sa.Column(name) for name in ("key", "retire_at_ms")),
)
_overrides = sa.Table(
    "overrides",
    METADATA,
    sa.Column("name", primary_key=True),
    *(sa.Column(name) for name in ("policy", "limit_id", "scope", "bound")),
    *(sa.Column(name) for name in ("create_at_ms", "expire_at_ms", "reason", "actor", "role")),
)
_tokens = sa.Table(
    "admin_tokens",
    METADATA,
    sa.Column("name", primary_key=True),
    *(sa.Column(name) for name in ("role", "team", "digest", "hint", "create_at_ms", "expire_at_ms")),
)
AUDIT = audit_table(METADATA)
_requests = requests_table(METADATA)
_snapshots = sa.Table(
    "snapshots", METADATA, sa.Column("name", primary_key=True), sa.Column("version"), sa.Column("body")
)

_DIRECTORY = "directory"
_RENAMED = "renamed policies"
_VERSION = sa.select(_snapshots.c.version).where(_snapshots.c.name == _DIRECTORY)


class SqlDirectory:
    """`ports.DirectoryStore` over an engine whose tables exist."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._changing = threading.Lock()
        self._version = ""

    def load(self) -> Directory:
        """The stored directory."""
        with _transaction(self._engine) as connection:
            return _load(connection)

    def newer(self) -> Directory | None:
        """The stored directory if it is newer than the one last returned here or from `replace`; else None."""
        with self._changing, _transaction(self._engine) as connection:
            # We read the version first, so that we load a change in between once more and do not miss it.
            version = connection.scalar(_VERSION) or ""
            if version == self._version:
                return None
            directory = _load(connection)
            self._version = version
            return directory

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """The first request with this id and its answer; None if the id is new."""
        return _recall(self._engine, request, kind, now_ms)

    def forget_requests(self, now_ms: int) -> None:
        """Forgets old requests, so that nobody can derive their secrets any more."""
        with _transaction(self._engine) as connection:
            forget(connection, _requests, now_ms)

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        """Stores what `change` makes of the directory, with its audit entries, in one transaction."""
        with self._changing, _transaction(self._engine) as connection:
            seen = connection.scalar(_VERSION) or ""
            before = _load(connection)
            after, entries = change(before)
            answered = answering(after) if answering is not None else None
            version = _mark(connection, seen)
            # We write only the differences, because every call waits for this transaction.
            _sync(connection, _organizations, _organization_rows(before), _organization_rows(after))
            _sync(
                connection, _environments, _by_name(before.environments, asdict), _by_name(after.environments, asdict)
            )
            _sync(connection, _teams, _by_name(before.teams, team_row), _by_name(after.teams, team_row))
            _sync(connection, _policies, _by_name(before.policies, policy_row), _by_name(after.policies, policy_row))
            _sync(connection, _keys, _by_name(before.keys, key_row), _by_name(after.keys, key_row))
            _sync(connection, _overrides, _by_name(before.overrides, asdict), _by_name(after.overrides, asdict))
            _keep_names(connection, after)
            _sync(connection, _tokens, _by_name(before.tokens, asdict), _by_name(after.tokens, asdict))
            _sync(connection, _retired, _by_digest(before), _by_digest(after))
            append_entries(connection, AUDIT, entries)
            forget_actors(connection, _requests, _revoked(before, after))
            if answered is not None:
                remember(connection, _requests, answered)
        self._version = version
        return after


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
                remember(connection, _requests, answered)


class SqlSnapshots:
    """`ports.SnapshotStore` over an engine whose tables exist."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces the snapshot under `name`."""
        with _transaction(self._engine) as connection:
            connection.execute(sa.delete(_snapshots).where(_snapshots.c.name == name))
            connection.execute(sa.insert(_snapshots), {"name": name, "version": version, "body": body})

    def load(self, name: str) -> bytes | None:
        """The snapshot under `name`; None if there never was one."""
        with _transaction(self._engine) as connection:
            body: bytes | None = connection.scalar(sa.select(_snapshots.c.body).where(_snapshots.c.name == name))
            return body


def _keep_names(connection: sa.Connection, directory: Directory) -> None:
    """Stores which policies were renamed, so that each process that takes them over knows their counters."""
    connection.execute(sa.delete(_snapshots).where(_snapshots.c.name == _RENAMED))
    kept = {"name": _RENAMED, "version": "", "body": orjson.dumps(directory.renamed)}
    connection.execute(sa.insert(_snapshots), kept)


def _names(connection: sa.Connection) -> tuple[tuple[str, str], ...]:
    body = connection.scalar(sa.select(_snapshots.c.body).where(_snapshots.c.name == _RENAMED))
    return tuple((old, new) for old, new in orjson.loads(body)) if body else ()


def _mark(connection: sa.Connection, seen: str) -> str:
    """Gives the directory a new version for other readers. It takes the lock of the file."""
    version = uuid.uuid4().hex
    fresh = {"name": _DIRECTORY, "version": "", "body": b""}
    connection.execute(sa.insert(_snapshots).prefix_with("OR IGNORE"), fresh)
    here = (_snapshots.c.name == _DIRECTORY) & (_snapshots.c.version == seen)
    if connection.execute(sa.update(_snapshots).where(here).values(version=version)).rowcount != 1:
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
        return recall(connection, _requests, request, kind, now_ms)


def _revoked(before: Directory, after: Directory) -> list[str]:
    """The actors whose admin tokens a change takes away."""
    kept = {token.digest for token in after.tokens}
    return [write_actor(token.actor) for token in before.tokens if token.digest not in kept]


def _load(connection: sa.Connection) -> Directory:
    def rows(table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)))

    def mappings(table: sa.Table) -> list[Any]:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings())

    return Directory(
        organization=connection.execute(sa.select(_organizations.c.name)).scalar() or "",
        teams=tuple(read_team(row) for row in rows(_teams)),
        policies=tuple(read_policy(row.name, orjson.loads(row.body)) for row in rows(_policies)),
        keys=tuple(read_key(row) for row in rows(_keys)),
        overrides=tuple(Override(**row) for row in mappings(_overrides)),
        environments=tuple(Environment(**row) for row in mappings(_environments)),
        retired=tuple(sorted((RetiredSecret(**row) for row in mappings(_retired)), key=lambda each: each.retire_at_ms)),
        renamed=_names(connection),
        tokens=tuple(AdminToken(**{**row, "role": Role(row["role"])}) for row in mappings(_tokens)),
    )


def _sync(connection: sa.Connection, table: sa.Table, before: Mapping[Any, Row], after: Mapping[Any, Row]) -> None:
    (primary,) = table.primary_key.columns
    gone = [name for name, row in before.items() if after.get(name) != row]
    fresh = [row for name, row in after.items() if before.get(name) != row]
    if gone:
        statement = sa.delete(table).where(primary == sa.bindparam("gone"))
        connection.execute(statement, [{"gone": name} for name in gone])
    if fresh:
        connection.execute(sa.insert(table), fresh)


def _by_name(things: Sequence[T], row_of: Callable[[T], Row]) -> dict[Any, Row]:
    return {row["name"]: row for row in map(row_of, things)}


def _by_digest(directory: Directory) -> dict[Any, Row]:
    return {each.digest: asdict(each) for each in directory.retired}


def _organization_rows(directory: Directory) -> dict[Any, Row]:
    return {1: {"id": 1, "name": directory.organization}} if directory.organization else {}
