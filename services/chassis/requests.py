"""Remembers requests that clients may repeat: a table in each service's own database (`services.kernel.repetition`).

A request is written in the transaction of its change, so both are there or neither is. If several processes get the
same request at once, the primary key lets one of them through. Each service's migrations create the table, and a test
keeps table and code equal.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import sqlalchemy as sa

from services.chassis.documents import read_document, write_document
from services.kernel.repetition import KEPT_MS, MOST_KEPT, MOST_OF_ONE_ACTOR, Answered, Repeatable, check_repetition

A = TypeVar("A")


def requests_table(metadata: sa.MetaData) -> sa.Table:
    """Adds the table to a service's own metadata."""
    return sa.Table(
        "requests",
        metadata,
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("actor", "method")),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("digest", "salt")),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("create_ms", sa.BigInteger, nullable=False),
    )


def recall(
    connection: sa.Connection, table: sa.Table, request: Repeatable, kind: type[A], now_ms: int
) -> Answered[A] | None:
    """Returns the first request with this id and its answer, a dataclass or text of type `kind`; None if it is new.

    Raises:
        InvalidInput: the first request with this id was another one.
    """
    fresh = (table.c.id == request.id) & (table.c.create_ms > now_ms - KEPT_MS)
    row = connection.execute(sa.select(table).where(fresh)).one_or_none()
    if row is None:
        return None
    first = Repeatable(row.id, row.actor, row.method, row.digest, row.salt)
    check_repetition(first, request)
    return Answered(first, read_document(row.answer, kind), row.create_ms)


def remember(connection: sa.Connection, table: sa.Table, answered: Answered[object]) -> None:
    """Adds a request within the transaction of its change, and forgets others as the bounds demand.

    Raises:
        sqlalchemy.exc.IntegrityError: another process just added this id.
    """
    forget(connection, table, answered.time_ms)
    request, columns = answered.request, table.c
    row = {
        "id": request.id,
        "actor": request.actor,
        "method": request.method,
        "digest": request.digest,
        "salt": request.salt,
        "answer": write_document(answered.answer),
        "create_ms": answered.time_ms,
    }
    connection.execute(sa.insert(table), row)
    _drop_oldest(connection, table, columns.actor == request.actor, MOST_OF_ONE_ACTOR)
    _drop_oldest(connection, table, sa.true(), MOST_KEPT)


def forget(connection: sa.Connection, table: sa.Table, now_ms: int) -> None:
    """Forgets old requests and overwrites their salts, after which nobody can derive their secrets any more."""
    _overwriting(connection)
    connection.execute(sa.delete(table).where(table.c.create_ms <= now_ms - KEPT_MS))


def forget_actors(connection: sa.Connection, table: sa.Table, actors: Collection[str]) -> None:
    """Forgets the requests of these actors, so that a later holder of the same name gets none of their answers."""
    if actors:
        _overwriting(connection)
        connection.execute(sa.delete(table).where(table.c.actor.in_(actors)))


def _overwriting(connection: sa.Connection) -> None:
    """Makes SQLite fill what this connection deletes with zeros, instead of only marking it as free."""
    connection.exec_driver_sql("PRAGMA secure_delete=ON").close()


def _drop_oldest(connection: sa.Connection, table: sa.Table, among: sa.ColumnElement[bool], most: int) -> None:
    count = connection.scalar(sa.select(sa.func.count()).select_from(table).where(among)) or 0
    if count > most:
        oldest = sa.select(table.c.id).where(among).order_by(table.c.create_ms, sa.literal_column("rowid"))
        connection.execute(sa.delete(table).where(table.c.id.in_(oldest.limit(count - most))))
