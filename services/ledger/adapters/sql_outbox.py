"""What quota must be told, what it told, and which runs of Envoy are over."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.kernel.usage import UsageSource
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import alerts, entries, epochs, releases
from services.ledger.domain.settlement import Crossing, Settlement

_UNSETTLED = (
    sa.select(
        entries.c.id,
        entries.c.cost_nano_usd,
        entries.c.input_tokens,
        entries.c.output_tokens,
        (entries.c.time_ms + entries.c.duration_ms).label("end_ms"),
        entries.c.usage_source,
    )
    .where(entries.c.settled_ms.is_(None))
    .order_by(entries.c.sequence)
    .limit(sa.bindparam("limit"))
)
_SETTLE = (
    sa.update(entries)
    .where(entries.c.id == sa.bindparam("of"), entries.c.settled_ms.is_(None))
    .values(settled_ms=sa.bindparam("at"))
)
_INSERT_ALERT = sqlite.insert(alerts).on_conflict_do_nothing()
_RELEASED = sa.delete(releases).where(releases.c.request_id == sa.bindparam("of"))
_END_EPOCH = sqlite.insert(epochs).on_conflict_do_nothing()


class SqlOutbox:
    """Settlements, releases and crossings, as `ports.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unsettled(self, limit: int) -> list[Settlement]:
        """Entries of which quota does not know, oldest first."""
        with self._database.read() as connection:
            return [
                Settlement(
                    reservation=row.id,
                    cost_nano_usd=row.cost_nano_usd,
                    input_tokens=row.input_tokens,
                    output_tokens=row.output_tokens,
                    end_ms=row.end_ms,
                    reported=row.usage_source == UsageSource.PROVIDER,
                )
                for row in connection.execute(_UNSETTLED, {"limit": limit})
            ]

    def mark_settled(self, reservations: Sequence[str], crossings: Sequence[Crossing], now_ms: int) -> None:
        """Settles entries and stores the crossings that are new, in one transaction."""
        with self._database.write() as connection:
            if reservations:
                connection.execute(_SETTLE, [{"of": each, "at": now_ms} for each in reservations])
            if crossings:
                connection.execute(_INSERT_ALERT, [_alert_row(crossing) for crossing in crossings])

    def last_crossing(self) -> int:
        """Sequence number of the newest crossing, 0 for none."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.max(alerts.c.sequence))) or 0

    def pending_releases(self, limit: int) -> list[str]:
        """Request ids to release."""
        with self._database.read() as connection:
            return list(connection.scalars(sa.select(releases.c.request_id).limit(limit)))

    def mark_released(self, request_ids: Sequence[str]) -> None:
        """Drops them."""
        with self._database.write() as connection:
            connection.execute(_RELEASED, [{"of": each} for each in request_ids])

    def count_unsettled(self) -> int:
        """How many entries quota does not know of."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(entries).where(entries.c.settled_ms.is_(None))
            return connection.scalar(query) or 0


class SqlEpochs:
    """Runs of Envoy that are over, as `ports.Epochs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ended(self) -> set[str]:
        """All that are known to be over and booked."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(epochs.c.epoch)))

    def uncleared(self) -> list[str]:
        """Those of them of which quota may still hold a reservation."""
        with self._database.read() as connection:
            query = sa.select(epochs.c.epoch).where(epochs.c.cleared_ms.is_(None)).order_by(epochs.c.epoch)
            return list(connection.scalars(query))

    def end(self, epoch: str, now_ms: int) -> None:
        """Notes that one is over and booked."""
        with self._database.write() as connection:
            connection.execute(_END_EPOCH, {"epoch": epoch, "ended_ms": now_ms})

    def clear(self, cleared: Sequence[str], ended_before_ms: int, now_ms: int) -> None:
        """Notes that quota holds nothing of those that ended before a moment."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(epochs)
                .where(epochs.c.epoch.in_(cleared), epochs.c.ended_ms < ended_before_ms)
                .values(cleared_ms=now_ms)
            )


def _alert_row(crossing: Crossing) -> dict[str, object]:
    return {
        "sequence": crossing.sequence,
        "policy": crossing.policy,
        "limit": crossing.limit,
        "scope": crossing.scope,
        "window_start_ms": crossing.window_start_ms,
        "basis_points": crossing.basis_points,
        "notify": list(crossing.notify),
        "crossed_ms": crossing.crossed_ms,
        "settled": crossing.settled,
        "bound": crossing.bound,
    }
