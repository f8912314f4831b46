"""Deliveries, as `delivery_ports.DeliveryStore`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.ledger.adapters.sql_alerts import alerts_of_leads, alerts_of_limits
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import alerts, deliveries, switches
from services.ledger.delivery_ports import DeliveryPosition, PlacedDelivery
from services.ledger.domain.delivery import AlertSource, Delivery, DeliveryState
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.settlement import Alert

_MOST_ENDED = 100_000
_TABLES = {AlertSource.LIMIT: alerts, AlertSource.SWITCH: switches}
_FIELDS = tuple(field.name for field in fields(Delivery))
_INSERT = sqlite.insert(deliveries).on_conflict_do_nothing()
_UPDATE = (
    sa.update(deliveries)
    .where(deliveries.c.id == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in ("state", "attempts", "due_ms", "ended_ms", "problem")})
)
_ARRIVED = (DeliveryState.DELIVERED, DeliveryState.SUPERSEDED)


class SqlDeliveries:
    """Keeps the newest 100,000 deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def undelivered(self, limit: int) -> list[Alert | SwitchAlert]:
        """Returns alerts of which no delivery was planned yet, oldest first."""
        with self._database.read() as connection:
            of_limits = alerts_of_limits(connection, lambda every: _unplanned(every, alerts, limit))
            of_leads = alerts_of_leads(connection, lambda every: _unplanned(every, switches, limit))
        found: list[Alert | SwitchAlert] = [*of_limits, *of_leads]
        return sorted(found, key=lambda alert: alert.position)[:limit]

    def add_deliveries(self, planned: Sequence[tuple[AlertSource, int, Sequence[Delivery]]]) -> None:
        """Records the deliveries of alerts, each alert once, in one transaction."""
        rows = [asdict(delivery) for _, _, some in planned for delivery in some]
        oldest = sa.select(sa.func.max(deliveries.c.sequence) - _MOST_ENDED).scalar_subquery()
        with self._database.write() as connection:
            for source, table in _TABLES.items():
                numbers = [number for kind, number, _ in planned if kind is source]
                connection.execute(sa.update(table).where(table.c.sequence.in_(numbers)).values(planned=1))
            if rows:
                connection.execute(_INSERT, rows)
                old = (deliveries.c.sequence <= oldest) & (deliveries.c.state != DeliveryState.WAITING)
                connection.execute(sa.delete(deliveries).where(old))
                _note_arrivals(connection, {(source, number) for source, number, _ in planned})

    def due(self, now_ms: int, limit: int) -> list[tuple[Delivery, Alert | SwitchAlert | None]]:
        """Returns deliveries whose next attempt is due, the longest due first, each with its alert."""
        waiting = (deliveries.c.state == DeliveryState.WAITING) & (deliveries.c.due_ms <= now_ms)
        statement = sa.select(deliveries).where(waiting).order_by(deliveries.c.due_ms).limit(limit)
        with self._database.read() as connection:
            found = [_delivery(row) for row in connection.execute(statement)]
            of_limits = alerts_of_limits(connection, lambda every: _numbered(every, alerts, found, AlertSource.LIMIT))
            of_leads = alerts_of_leads(connection, lambda every: _numbered(every, switches, found, AlertSource.SWITCH))
        by_number: dict[tuple[AlertSource, int], Alert | SwitchAlert] = {
            **{(AlertSource.LIMIT, alert.crossing.sequence): alert for alert in of_limits},
            **{(AlertSource.SWITCH, alert.sequence): alert for alert in of_leads},
        }
        return [(delivery, by_number.get((delivery.source, delivery.alert))) for delivery in found]

    def update(self, changed: Sequence[Delivery]) -> None:
        """Records what became of attempts, in one transaction."""
        if not changed:
            return
        with self._database.write() as connection:
            connection.execute(_UPDATE, [asdict(delivery) | {"of": delivery.id} for delivery in changed])
            _note_arrivals(connection, {(delivery.source, delivery.alert) for delivery in changed})

    def deliveries(self, before: DeliveryPosition | None, limit: int, *, failed_only: bool) -> list[PlacedDelivery]:
        """Returns deliveries before a position, newest first."""
        place = (deliveries.c.created_ms, deliveries.c.sequence)
        statement = sa.select(deliveries).order_by(*(column.desc() for column in place)).limit(limit)
        if before is not None:
            statement = statement.where(sa.tuple_(*place) < before)
        if failed_only:
            statement = statement.where(deliveries.c.state == DeliveryState.FAILED)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [PlacedDelivery(_delivery(row), (row.created_ms, row.sequence)) for row in rows]

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Returns one delivery."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).first()
        return None if row is None else _delivery(row)


def _unplanned(every: sa.Select[Any], table: sa.Table, limit: int) -> sa.Select[Any]:
    return every.where(table.c.planned == sa.text("0")).order_by(table.c.sequence).limit(limit)


def _numbered(every: sa.Select[Any], table: sa.Table, some: Iterable[Delivery], source: AlertSource) -> sa.Select[Any]:
    return every.where(table.c.sequence.in_([one.alert for one in some if one.source is source]))


def _note_arrivals(connection: sa.Connection, touched: Iterable[tuple[AlertSource, int]]) -> None:
    """Alerts that have arrived everywhere get the time of it."""
    for source, number in touched:
        of_alert = (deliveries.c.source == source) & (deliveries.c.alert == number)
        states = connection.execute(sa.select(deliveries.c.state, deliveries.c.ended_ms).where(of_alert)).all()
        has_arrived = bool(states) and all(row.state in _ARRIVED for row in states)
        table = _TABLES[source]
        delivered_ms = max(row.ended_ms for row in states) if has_arrived else None
        connection.execute(sa.update(table).where(table.c.sequence == number).values(delivered_ms=delivered_ms))


def _delivery(row: sa.Row[Any]) -> Delivery:
    known = {name: getattr(row, name) for name in _FIELDS}
    return Delivery(**known | {"source": AlertSource(row.source), "state": DeliveryState(row.state)})
