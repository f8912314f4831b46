"""Reads the books: sums from the rollups, calls page by page along an index, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from services.kernel.usage import UsageSource
from services.ledger.adapters.sql_alerts import read_alerts
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_dropped_headers import read_dropped
from services.ledger.adapters.sql_entries import attempts_by_request
from services.ledger.adapters.sql_meters import read_usage
from services.ledger.adapters.sql_tables import entries, rollups, unanswered_attempts, unreadable_lines
from services.ledger.domain.call import Caller, times_sent_before
from services.ledger.domain.dropped import DroppedHeader
from services.ledger.domain.entry import BookedCall, join_attempts
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.rollup import HOUR_MS, Sums
from services.ledger.domain.selection import CallQuery, Dimension, Filter, UsageQuery, UsageSums
from services.ledger.domain.settlement import Alert
from services.ledger.ports import AlertPosition

_DAY_MS = 24 * HOUR_MS
_READ = ("usage_source", "unknown_members", "price_options", "left_out", "attempts")
"""Columns that are not copied to a call unchanged."""
_AS_KEPT = [field.name for field in fields(BookedCall) if field.name in entries.c and field.name not in _READ]
_kept_of = attrgetter(*_AS_KEPT)
_caller_of = attrgetter(*(field.name for field in fields(Caller)))
_SUMS = [sa.func.sum(rollups.c[field.name]).label(field.name) for field in fields(Sums)]


class SqlReports:
    """Answers questions, as `ports.Reports`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def usage(self, query: UsageQuery) -> list[UsageSums]:
        """Returns sums from the rollups, highest cost first."""
        groups = [_rollup_dimension(dimension).label(f"group_{at}") for at, dimension in enumerate(query.group_by)]
        statement = sa.select(*groups, *_SUMS)
        for dimension, value in query.filter:
            statement = statement.where(_rollup_dimension(dimension) == value)
        if query.start_ms is not None:
            statement = statement.where(rollups.c.hour_ms >= query.start_ms - query.start_ms % HOUR_MS)
        if query.end_ms is not None:
            statement = statement.where(rollups.c.hour_ms < query.end_ms)
        # A sum over no rows yields one empty row. Grouping by a constant leaves it out.
        statement = statement.group_by(*groups) if groups else statement.group_by(sa.literal_column("'all'"))
        order = [sa.desc("cost_nano_usd"), sa.desc("calls"), *groups]
        with self._database.read() as connection:
            return [_sums(query.group_by, row) for row in connection.execute(statement.order_by(*order))]

    def calls(self, query: CallQuery, after: tuple[int, int] | None, limit: int) -> list[BookedCall]:
        """Returns calls after (time in ms, sequence), in the order of the query."""
        order = (entries.c.time_ms, entries.c.sequence)
        statement = _selected(query.filter).limit(limit)
        statement = statement.order_by(*(order if query.oldest_first else (column.desc() for column in order)))
        if query.start_ms is not None:
            statement = statement.where(entries.c.time_ms >= query.start_ms)
        if query.end_ms is not None:
            statement = statement.where(entries.c.time_ms < query.end_ms)
        if after is not None:
            position = sa.tuple_(*order)
            statement = statement.where(position > after if query.oldest_first else position < after)
        with self._database.read() as connection:
            return _booked_calls(connection, connection.execute(statement).all())

    def call(self, call_id: str) -> BookedCall | None:
        """Returns one call by its id or by Envoy's request id."""
        with self._database.read() as connection:
            for column in (entries.c.id, entries.c.request_id):
                rows = connection.execute(sa.select(entries).where(column == call_id).limit(1)).all()
                if rows:
                    return _booked_calls(connection, rows)[0]
        return None

    def calls_after(self, selection: Filter, sequence: int, limit: int) -> tuple[int, list[BookedCall]]:
        """Returns calls booked after `sequence`, in booking order, and the sequence number to continue from."""
        with self._database.read() as connection:
            newest = connection.scalar(sa.select(sa.func.max(entries.c.sequence))) or 0
            if newest <= sequence:
                return sequence, []
            statement = _selected(selection).where(entries.c.sequence > sequence, entries.c.sequence <= newest)
            rows = connection.execute(statement.order_by(entries.c.sequence).limit(limit)).all()
            found = _booked_calls(connection, rows)
        return (found[-1].sequence if len(found) == limit else newest), found

    def newest_sequence(self) -> int:
        """Returns the sequence number of the last booked call, 0 for none."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.max(entries.c.sequence))) or 0

    def alerts(self, before: AlertPosition | None, limit: int) -> list[Alert | SwitchAlert]:
        """Returns alerts before a position, newest first."""
        with self._database.read() as connection:
            return read_alerts(connection, before, limit)

    def count_booked(self) -> int:
        """Counts all calls ever booked."""
        with self._database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(rollups.c.calls))) or 0)

    def count_unreadable(self) -> int:
        """Counts the lines that were set aside."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(unreadable_lines)) or 0

    def dropped_headers(self, now_ms: int) -> list[tuple[DroppedHeader, int]]:
        """Returns recently dropped headers with the number of calls that lost them, most frequent first."""
        with self._database.read() as connection:
            return read_dropped(connection, now_ms)


def _provider_of(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    # The part of "openai/gpt-4o" before the slash; empty for "".
    return sa.func.substr(column, 1, sa.func.max(sa.func.instr(column, "/") - 1, 0))


def _rollup_dimension(dimension: Dimension) -> sa.ColumnElement[Any]:
    match dimension:
        case Dimension.MODEL:
            return rollups.c.model_requested
        case Dimension.PROVIDER:
            return _provider_of(rollups.c.model_served)
        case Dimension.DAY:
            return rollups.c.hour_ms - rollups.c.hour_ms % _DAY_MS
        case Dimension.HOUR:
            return rollups.c.hour_ms
        case _:
            return rollups.c[dimension.value]


def _entry_dimension(dimension: Dimension) -> sa.ColumnElement[Any]:
    match dimension:
        case Dimension.MODEL:
            return entries.c.model_requested
        case Dimension.PROVIDER:
            return _provider_of(entries.c.model_served)
        case Dimension.STATUS:
            status = entries.c.status
            of_class = sa.func.substr(sa.cast(status, sa.Text), 1, 1).concat("xx")
            return sa.case((status == 0, "none"), else_=of_class)
        case _:
            return entries.c[dimension.value]


def _selected(selection: Filter) -> sa.Select[Any]:
    statement = sa.select(entries)
    for dimension, value in selection:
        statement = statement.where(_entry_dimension(dimension) == value)
    return statement


def _sums(group_by: tuple[Dimension, ...], row: sa.Row[Any]) -> UsageSums:
    values = tuple(_shown(dimension, row[at]) for at, dimension in enumerate(group_by))
    return UsageSums(values, *(int(number) for number in row[len(group_by) :]))


def _shown(dimension: Dimension, value: Any) -> str:
    if dimension not in {Dimension.DAY, Dimension.HOUR}:
        return str(value)
    time = datetime.fromtimestamp(value / 1000, UTC)
    return time.strftime("%Y-%m-%d" if dimension is Dimension.DAY else "%Y-%m-%dT%H:%M:%SZ")


def _booked_calls(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[BookedCall]:
    made = attempts_by_request(connection, [row.request_id for row in rows])
    unanswered = _unanswered_costs(connection, [row.id for row in rows if row.attempts > 1])
    retries = _count_retries(connection, [row.id for row in rows])
    return [
        BookedCall(
            **dict(zip(_AS_KEPT, _kept_of(row), strict=True)),
            caller=Caller(*_caller_of(row)),
            usage_source=UsageSource(row.usage_source),
            usage=read_usage(row),
            retry_count=times_sent_before(row.sdk_retry),
            retries=retries.get(row.id, 0),
            unknown_members=_names(row.unknown_members),
            price_options=_names(row.price_options),
            left_out=_names(row.left_out),
            attempts=join_attempts(
                attempts=made.get(row.request_id, []),
                made=row.attempts,
                chain=list(_names(row.chain)),
                cost_nano_usd=row.cost_nano_usd,
                unanswered_costs=unanswered.get(row.id, {}),
            ),
        )
        for row in rows
    ]


def _names(joined: str | None) -> tuple[str, ...]:
    return tuple(joined.split(",")) if joined else ()


def _unanswered_costs(connection: sa.Connection, ids: list[str]) -> dict[str, dict[int, int | None]]:
    costs: dict[str, dict[int, int | None]] = {}
    if ids:
        statement = sa.select(unanswered_attempts).where(unanswered_attempts.c.entry_id.in_(ids))
        for row in connection.execute(statement):
            costs.setdefault(row.entry_id, {})[row.attempt] = row.cost_nano_usd
    return costs


def _count_retries(connection: sa.Connection, ids: list[str]) -> dict[str, int]:
    """Counts the calls that repeat each of these."""
    repeats = entries.c.retry_of.in_(ids) & (entries.c.retry_of != "")
    counted = sa.select(entries.c.retry_of, sa.func.count()).where(repeats).group_by(entries.c.retry_of)
    return {row[0]: row[1] for row in connection.execute(counted)}
