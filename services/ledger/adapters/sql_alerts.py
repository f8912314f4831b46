"""Alerts: events of limits as quota reports them, and switches as the router reports them. One list for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.kernel.envoy_contract import LeadReason
from services.kernel.settlement import CrossingKind
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import alerts, entries, switches
from services.ledger.domain.lead_switch import Direction, LeadSwitch, SwitchAlert, is_same
from services.ledger.domain.settlement import Alert, Crossing
from services.ledger.ports import AlertPosition

_MOST_SWITCHES = 10_000
_OF_ALERTED_CALL = ("trace_id", "run", "model_served", "key", "team", "unknown_members")
_LISTS = ("previous_targets", "targets", "notify")
_AS_KEPT = [field.name for field in fields(LeadSwitch) if field.name not in {*_LISTS, "direction", "reason"}]
_INSERT = sqlite.insert(switches).on_conflict_do_nothing()
_OF_LIMIT = (alerts.c.crossed_ms, 0, alerts.c.sequence)
_OF_LEAD = (switches.c.time_ms, 1, switches.c.sequence)

Choose = Callable[[sa.Select[Any]], sa.Select[Any]]
"""Narrows and orders a query."""


class SqlSwitches:
    """Switches, as `ports.SwitchStore`. Keeps the newest 10,000."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known_switches(self, ids: Collection[str]) -> set[str]:
        """Returns the ids among these that are recorded."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(switches.c.id).where(switches.c.id.in_(ids))))

    def add_switches(self, reported: Sequence[tuple[LeadSwitch, Sequence[str]]], now_ms: int) -> None:
        """Records switches with the channels to tell, each id once, in one transaction.

        One that another router told before is recorded as the same, so that its report may come again.
        """
        if not reported:
            return
        oldest = sa.select(sa.func.max(switches.c.sequence) - _MOST_SWITCHES).scalar_subquery()
        with self._database.write() as connection:
            for switch, notify in reported:
                last = _last_of_tier(connection, switch)
                same_as = last.id if last is not None and is_same(switch, last) else ""
                row = asdict(switch) | {"notify": list(notify), "booked_ms": now_ms, "same_as": same_as}
                # Nobody is to be told of the same again.
                row["planned"] = int(bool(same_as))
                connection.execute(_INSERT, row)
            connection.execute(sa.delete(switches).where(switches.c.sequence <= oldest))


def _last_of_tier(connection: sa.Connection, switch: LeadSwitch) -> LeadSwitch | None:
    """Returns the last switch of the same tier that people were told of."""
    of_tier = (
        switches.c.model == switch.model,
        switches.c.from_basis_points == switch.from_basis_points,
        switches.c.same_as == "",
    )
    newest = sa.select(switches).where(*of_tier).order_by(switches.c.sequence.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _lead_switch(row)


def read_alerts(connection: sa.Connection, before: AlertPosition | None, limit: int) -> list[Alert | SwitchAlert]:
    """Returns alerts of both kinds before a position, newest first."""
    of_limits = alerts_of_limits(connection, lambda all_of_them: _newest(all_of_them, _OF_LIMIT, before, limit))
    of_leads = alerts_of_leads(connection, lambda all_of_them: _newest(all_of_them, _OF_LEAD, before, limit))
    found: list[Alert | SwitchAlert] = [*of_limits, *of_leads]
    return sorted(found, key=lambda alert: alert.position, reverse=True)[:limit]


def alerts_of_limits(connection: sa.Connection, chosen: Choose) -> list[Alert]:
    """Returns some alerts of the table `alerts`, each with its call."""
    called = sa.outerjoin(alerts, entries, entries.c.id == alerts.c.call)
    everything = sa.select(alerts, *(entries.c[name] for name in _OF_ALERTED_CALL)).select_from(called)
    return [_alert(row) for row in connection.execute(chosen(everything))]


def alerts_of_leads(connection: sa.Connection, chosen: Choose) -> list[SwitchAlert]:
    """Returns some alerts of the table `switches`, without those that another router had reported."""
    listed = sa.select(switches).where(switches.c.same_as == "")
    return [_switch(row) for row in connection.execute(chosen(listed))]


def _newest(
    statement: sa.Select[Any],
    place: tuple[sa.Column[Any], int, sa.Column[Any]],
    before: AlertPosition | None,
    limit: int,
) -> sa.Select[Any]:
    time_ms, kind, sequence = place
    if before is not None:
        statement = statement.where(sa.tuple_(time_ms, sa.literal(kind), sequence) < before)
    return statement.order_by(time_ms.desc(), sequence.desc()).limit(limit)


def _alert(row: sa.Row[Any]) -> Alert:
    reported = {field.name: getattr(row, field.name) for field in fields(Crossing)}
    crossing = Crossing(**reported | {"notify": tuple(row.notify), "kind": CrossingKind(row.kind)})
    return Alert(
        crossing,
        row.delivered_ms,
        trace_id=row.trace_id or "",
        run=row.run or "",
        target=row.model_served or "",
        key=row.key or "",
        team=row.team or "",
        unknown_members=tuple(row.unknown_members.split(",")) if row.unknown_members else (),
    )


def _switch(row: sa.Row[Any]) -> SwitchAlert:
    return SwitchAlert(row.sequence, _lead_switch(row), tuple(row.notify), row.delivered_ms)


def _lead_switch(row: sa.Row[Any]) -> LeadSwitch:
    return LeadSwitch(
        **{name: getattr(row, name) for name in _AS_KEPT},
        direction=Direction(row.direction),
        reason=LeadReason(row.reason),
        previous_targets=tuple(row.previous_targets),
        targets=tuple(row.targets),
    )
