"""The tables of the directory, and how they are read and written as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson
import sqlalchemy as sa

from services.chassis.audit import audit_table
from services.chassis.requests import requests_table
from services.kernel.change import Role, only_in
from services.quota.adapters.directory_rows import Row, key_row, policy_row, read_key, read_policy, read_team, team_row
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.key import RetiredSecret
from services.quota.domain.identity.team import Environment
from services.quota.domain.policies.override import Override

T = TypeVar("T")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)

_ROWS_AT_ONCE = 1_000

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
REQUESTS = requests_table(METADATA)
SNAPSHOTS = sa.Table(
    "snapshots", METADATA, sa.Column("name", primary_key=True), sa.Column("version"), sa.Column("body")
)
_RENAMED = "renamed policies"


def load_directory(connection: sa.Connection) -> Directory:
    """The stored directory, with everything by name, and retired secrets by time."""

    def rows(table: sa.Table) -> sa.Result[Any]:
        # In parts, because all rows at once take as much memory as the keys themselves.
        return connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(sa.select(table))

    def values(kind: Callable[..., T], table: sa.Table) -> tuple[T, ...]:
        return tuple(kind(**row) for row in rows(table).mappings())

    found = Directory(
        organization=connection.execute(sa.select(_organizations.c.name)).scalar() or "",
        teams=tuple(read_team(row) for row in rows(_teams)),
        policies=tuple(read_policy(row.name, orjson.loads(row.body)) for row in rows(_policies)),
        keys=tuple(read_key(row) for row in rows(_keys)),
        overrides=values(Override, _overrides),
        environments=values(Environment, _environments),
        retired=values(RetiredSecret, _retired),
        renamed=_names(connection),
        tokens=tuple(AdminToken(**{**row, "role": Role(row["role"])}) for row in rows(_tokens).mappings()),
    )
    return in_order(found)


def in_order(directory: Directory) -> Directory:
    """The directory with everything by name, and retired secrets by time."""
    return replace(
        directory,
        teams=_sorted(directory.teams),
        policies=_sorted(directory.policies),
        keys=_sorted(directory.keys),
        overrides=_sorted(directory.overrides),
        environments=_sorted(directory.environments),
        retired=tuple(sorted(directory.retired, key=lambda each: (each.retire_at_ms, each.digest))),
        tokens=_sorted(directory.tokens),
    )


def _sorted(things: Iterable[N]) -> tuple[N, ...]:
    return tuple(sorted(things, key=lambda each: each.name))


class Difference(NamedTuple):
    """What a change does to a table."""

    table: sa.Table
    gone: list[Any]
    """The primary keys of rows that are deleted, or replaced by fresh ones."""
    fresh: list[Row]

    def write(self, connection: sa.Connection) -> None:
        """Writes it, within the transaction of the change."""
        (primary,) = self.table.primary_key.columns
        if self.gone:
            statement = sa.delete(self.table).where(primary == sa.bindparam("gone"))
            connection.execute(statement, [{"gone": name} for name in self.gone])
        if self.fresh:
            connection.execute(sa.insert(self.table), self.fresh)


def table_differences(before: Directory, after: Directory) -> list[Difference]:
    """What differs between the stored directory and the one that replaces it."""
    return [
        _difference(_organizations, _organization_rows(before), _organization_rows(after), dict),
        _difference(_environments, *_named(before.environments, after.environments), asdict),
        _difference(_teams, *_named(before.teams, after.teams), team_row),
        _difference(_policies, *_named(before.policies, after.policies), policy_row),
        _difference(_keys, *_named(before.keys, after.keys), key_row),
        _difference(_overrides, *_named(before.overrides, after.overrides), asdict),
        _difference(_tokens, *_named(before.tokens, after.tokens), asdict),
        _difference(_retired, _by_digest(before), _by_digest(after), asdict),
    ]


def keep_names(connection: sa.Connection, directory: Directory) -> None:
    """Stores which policies were renamed, so that each process that takes them over knows their counters."""
    connection.execute(sa.delete(SNAPSHOTS).where(SNAPSHOTS.c.name == _RENAMED))
    kept = {"name": _RENAMED, "version": "", "body": orjson.dumps(directory.renamed)}
    connection.execute(sa.insert(SNAPSHOTS), kept)


def _names(connection: sa.Connection) -> tuple[tuple[str, str], ...]:
    body = connection.scalar(sa.select(SNAPSHOTS.c.body).where(SNAPSHOTS.c.name == _RENAMED))
    return tuple((old, new) for old, new in orjson.loads(body)) if body else ()


def _difference(
    table: sa.Table, before: Mapping[Any, T], after: Mapping[Any, T], row_of: Callable[[T], Row]
) -> Difference:
    """Compares the things before and after a change, by primary key."""
    gone = [name for name, thing in before.items() if after.get(name) != thing]
    fresh = [row_of(thing) for name, thing in after.items() if before.get(name) != thing]
    return Difference(table, gone, fresh)


def _named(before: Sequence[N], after: Sequence[N]) -> tuple[dict[Any, N], dict[Any, N]]:
    """What is not the same object in both, by name. Comparing a hundred thousand keys by their fields takes long."""
    pairs = (before, after), (after, before)
    old, new = ({each.name: each for each in only_in(some, others)} for some, others in pairs)
    return old, new


def _by_digest(directory: Directory) -> dict[Any, RetiredSecret]:
    return {each.digest: each for each in directory.retired}


def _organization_rows(directory: Directory) -> dict[Any, Row]:
    return {1: {"id": 1, "name": directory.organization}} if directory.organization else {}
