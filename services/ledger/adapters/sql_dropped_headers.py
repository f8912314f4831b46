"""Counts dropped headers by day. The table stays small whatever clients and providers send."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.ledger.adapters.sql_tables import dropped_headers
from services.ledger.domain.dropped import Direction, DroppedHeader
from services.ledger.domain.spooled import Booking

_DAY_MS = 86_400_000
_KEPT_DAYS = 7
"""Days before today."""
_ROWS_OF_A_DAY_MAX = 500
_LISTED_MAX = 100

_INSERT = sqlite.insert(dropped_headers)
_ADD = _INSERT.on_conflict_do_update(set_={"calls": dropped_headers.c.calls + _INSERT.excluded.calls})
_COUNT = sa.select(sa.func.count()).where(dropped_headers.c.day_ms == sa.bindparam("day"))


def write_dropped(connection: sa.Connection, booking: Booking) -> None:
    """Adds the counts of a booking. On a day with very many names, new names are not kept."""
    if not booking.dropped:
        return
    day_ms = booking.now_ms // _DAY_MS * _DAY_MS
    oldest_ms = day_ms - _KEPT_DAYS * _DAY_MS
    connection.execute(sa.delete(dropped_headers).where(dropped_headers.c.day_ms < oldest_ms))
    room = _ROWS_OF_A_DAY_MAX - int(connection.scalar(_COUNT, {"day": day_ms}) or 0)
    known = _known(connection, day_ms) if len(booking.dropped) > room else set()
    for header, calls in booking.dropped.most_common():
        if header not in known:
            if room <= 0:
                continue
            room -= 1
        values = {"day_ms": day_ms, "calls": calls, **header._asdict()}
        connection.execute(_ADD, values)


def read_dropped(connection: sa.Connection, now_ms: int) -> list[tuple[DroppedHeader, int]]:
    """Returns the most frequent headers of the last seven days and today, with the number of calls that lost them."""
    columns = (dropped_headers.c.provider, dropped_headers.c.direction, dropped_headers.c.name)
    calls = sa.func.sum(dropped_headers.c.calls)
    statement = (
        sa.select(*columns, calls)
        .where(dropped_headers.c.day_ms >= now_ms // _DAY_MS * _DAY_MS - _KEPT_DAYS * _DAY_MS)
        .group_by(*columns)
        .order_by(calls.desc(), *columns)
        .limit(_LISTED_MAX)
    )
    return [
        (DroppedHeader(provider, Direction(direction), name), int(count))
        for provider, direction, name, count in connection.execute(statement)
    ]


def _known(connection: sa.Connection, day_ms: int) -> set[DroppedHeader]:
    columns = (dropped_headers.c.provider, dropped_headers.c.direction, dropped_headers.c.name)
    rows = connection.execute(sa.select(*columns).where(dropped_headers.c.day_ms == day_ms))
    return {DroppedHeader(provider, Direction(direction), name) for provider, direction, name in rows}
