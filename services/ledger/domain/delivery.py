"""Deliveries: one alert on its way to one channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from services.kernel.settlement import CrossingKind
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.settlement import Alert

_PAUSES_S = (1, 2, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 14_400, 14_400)
"""How long to wait after each failed attempt. Together about 16 hours: a receiver may be down for a night."""
ATTEMPTS_MAX = len(_PAUSES_S) + 1
_PROBLEM_LETTERS_MAX = 500


class AlertSource(StrEnum):
    """Where an alert comes from. Each source numbers its own alerts."""

    LIMIT = "limit"
    """A counter of quota."""
    SWITCH = "switch"
    """The router: another target leads a model."""


class DeliveryState(StrEnum):
    """Whether an alert has arrived."""

    WAITING = "waiting"
    """For its next attempt."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up. `spendgate alerts retry` starts anew."""
    SUPERSEDED = "superseded"
    """Not sent: the budget passed a higher threshold at the same time, of which the channel hears."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert for one channel."""

    id: str
    """Given by the ledger. Each attempt carries the same, so that a receiver can drop a repetition."""
    source: AlertSource
    alert: int
    """The alert's number in its source."""
    channel: str
    created_ms: int
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    """Those that have failed, and the one that arrived."""
    due_ms: int = 0
    """When to try next."""
    ended_ms: int | None = None
    """When it arrived, was given up or superseded."""
    problem: str = ""
    """Why the latest attempt failed."""

    def arrived(self, now_ms: int) -> Delivery:
        """The delivery after an attempt that a receiver accepted."""
        return replace(
            self, state=DeliveryState.DELIVERED, attempts=self.attempts + 1, ended_ms=now_ms, due_ms=0, problem=""
        )

    def failed(self, problem: str, now_ms: int, *, for_good: bool = False) -> Delivery:
        """The delivery after a failed attempt: waiting for the next one, or given up."""
        attempts = self.attempts + 1
        noted = replace(self, attempts=attempts, problem=problem[:_PROBLEM_LETTERS_MAX])
        if for_good or attempts >= ATTEMPTS_MAX:
            return replace(noted, state=DeliveryState.FAILED, ended_ms=now_ms, due_ms=0)
        return replace(noted, due_ms=now_ms + _PAUSES_S[attempts - 1] * 1_000)

    def again(self, now_ms: int) -> Delivery:
        """The delivery as if it had never been tried. Its id stays, so nobody who has the alert gets it twice."""
        return replace(self, state=DeliveryState.WAITING, attempts=0, due_ms=now_ms, ended_ms=None)


def plan(
    alerts: Sequence[Alert | SwitchAlert], now_ms: int, new_id: Callable[[], str]
) -> Iterator[tuple[AlertSource, int, tuple[Delivery, ...]]]:
    """Yields each alert, by source and number, with its deliveries: one for each channel, each channel once.

    If a budget passed several thresholds since the last time, each channel gets the highest of those that it hears of.
    """
    highest = _highest_thresholds(alerts)
    for alert in alerts:
        source, number, channels = _told_to(alert)
        deliveries = []
        for channel in channels:
            delivery = Delivery(new_id(), source, number, channel, now_ms, due_ms=now_ms)
            if isinstance(alert, Alert) and highest.get((*_budget(alert), channel), 0) > alert.crossing.basis_points:
                delivery = replace(delivery, state=DeliveryState.SUPERSEDED, due_ms=0, ended_ms=now_ms)
            deliveries.append(delivery)
        yield source, number, tuple(deliveries)


def _told_to(alert: Alert | SwitchAlert) -> tuple[AlertSource, int, Iterable[str]]:
    if isinstance(alert, SwitchAlert):
        return AlertSource.SWITCH, alert.sequence, dict.fromkeys(alert.notify)
    return AlertSource.LIMIT, alert.crossing.sequence, dict.fromkeys(alert.crossing.notify)


_Budget = tuple[str, str, str, int, CrossingKind]


def _budget(alert: Alert) -> _Budget:
    crossing = alert.crossing
    return crossing.policy, crossing.limit, crossing.scope, crossing.window_start_ms, crossing.kind


def _highest_thresholds(alerts: Iterable[Alert | SwitchAlert]) -> dict[tuple[*_Budget, str], int]:
    """By budget and channel, in basis points."""
    highest: dict[tuple[*_Budget, str], int] = {}
    for alert in alerts:
        if isinstance(alert, Alert) and alert.crossing.kind is CrossingKind.THRESHOLD:
            for channel in alert.crossing.notify:
                place = (*_budget(alert), channel)
                highest[place] = max(highest.get(place, 0), alert.crossing.basis_points)
    return highest
