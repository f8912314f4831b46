"""Price overrides, alert channels and the targets of the route plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.chassis.audit import append_entries
from services.chassis.requests import recall, remember
from services.kernel.change import AuditEntry
from services.kernel.money import NanoUsd
from services.kernel.price import Price
from services.kernel.repetition import Answered, Repeatable
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_meters import read_service_tiers, read_tier, write_service_tiers, write_tier
from services.ledger.adapters.sql_tables import alert_channels, audit_entries, price_overrides, priced_targets, requests
from services.ledger.domain.configuration import Channel, Configuration, PricedTarget

A = TypeVar("A")

_insert_target = sqlite.insert(priced_targets)
_REMEMBER = _insert_target.on_conflict_do_update(
    index_elements=[priced_targets.c.target],
    set_={
        "catalogue_provider": _insert_target.excluded.catalogue_provider,
        "upstream_model": _insert_target.excluded.upstream_model,
    },
)


class SqlConfiguration:
    """Stores the configuration, as `ports.ConfigurationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def configuration(self) -> Configuration:
        """Returns the configuration in force."""
        with self._database.read() as connection:
            prices = {
                row.target: Price(
                    (read_tier(row),), NanoUsd(row.request_nano_usd), read_service_tiers(row.service_tiers)
                )
                for row in connection.execute(sa.select(price_overrides))
            }
            channels = {row["name"]: Channel(**row) for row in connection.execute(sa.select(alert_channels)).mappings()}
        return Configuration(prices, channels)

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """Returns the first request with this id and its answer; None if the id is new."""
        with self._database.read() as connection:
            return recall(connection, requests, request, kind, now_ms)

    def replace(
        self, configuration: Configuration, entries: Sequence[AuditEntry], answered: Answered[object] | None = None
    ) -> None:
        """Puts another configuration in force, with its audit entries and its request, in one transaction."""
        prices = [
            {
                "target": target,
                **write_tier(price.tiers[0]),
                "request_nano_usd": price.request_nano_usd,
                "service_tiers": write_service_tiers(price.service_tiers),
            }
            for target, price in configuration.prices.items()
        ]
        channels = [
            {"name": each.name, "url": each.url, "webhook": each.webhook, "secret_env": each.secret_env}
            for each in configuration.channels.values()
        ]
        with self._database.write() as connection:
            connection.execute(sa.delete(price_overrides))
            connection.execute(sa.delete(alert_channels))
            if prices:
                connection.execute(sa.insert(price_overrides), prices)
            if channels:
                connection.execute(sa.insert(alert_channels), channels)
            append_entries(connection, audit_entries, entries)
            if answered is not None:
                remember(connection, requests, answered)

    def targets(self) -> dict[str, PricedTarget]:
        """Returns all targets ever asked for, by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(priced_targets)).mappings()
            return {row["target"]: PricedTarget(**row) for row in rows}

    def remember(self, targets: Sequence[PricedTarget]) -> None:
        """Adds or replaces targets."""
        rows = [
            {
                "target": each.target,
                "catalogue_provider": each.catalogue_provider,
                "upstream_model": each.upstream_model,
            }
            for each in targets
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(_REMEMBER, rows)
