"""Reads the status of a quota process."""

from __future__ import annotations

from dataclasses import dataclass

from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.ports.counters import OpenReservations
from services.quota.usecases.live import Live


@dataclass(frozen=True, slots=True)
class Status:
    """What this process has in force, and the state of its calls."""

    plan_version: str
    price_version: str
    keys: int
    policies: int
    open_reservations: int
    settlement_lag_p95_ms: int
    unpriced_targets: list[str]


class ReadStatus:
    """Reads the status of this process."""

    def __init__(self, live: Live, reservations: OpenReservations, lag: SettlementLag) -> None:
        self._live = live
        self._reservations = reservations
        self._lag = lag

    def __call__(self) -> Status:
        """The status at this moment.

        Raises:
            Unavailable: the store of the reservations cannot be read.
        """
        snapshot = self._live.snapshot
        directory = snapshot.directory.directory
        return Status(
            plan_version=snapshot.routes.plan.version,
            price_version=snapshot.routes.prices.version,
            keys=len(directory.keys),
            policies=len(directory.policies),
            open_reservations=self._reservations.open_count(),
            settlement_lag_p95_ms=self._lag.p95_ms,
            unpriced_targets=snapshot.routes.unpriced_targets,
        )
