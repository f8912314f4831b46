"""The ports for sending alerts. Each has one adapter in production."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.ledger.domain.alert_text import Words
from services.ledger.domain.configuration import Channel
from services.ledger.domain.delivery import AlertSource, Delivery
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.settlement import Alert

DeliveryPosition = tuple[int, int]
"""Time of creation in ms and row number of a delivery. No two deliveries share them."""


class PlacedDelivery(NamedTuple):
    """A delivery and its place among all."""

    delivery: Delivery
    position: DeliveryPosition


class DeliveryStore(Protocol):
    """Alerts on their way to channels."""

    def undelivered(self, limit: int) -> list[Alert | SwitchAlert]:
        """Returns alerts of which no delivery was planned yet, oldest first."""
        ...

    def add_deliveries(self, planned: Sequence[tuple[AlertSource, int, Sequence[Delivery]]]) -> None:
        """Records the deliveries of alerts, each alert once, in one transaction."""
        ...

    def due(self, now_ms: int, limit: int) -> list[tuple[Delivery, Alert | SwitchAlert | None]]:
        """Returns deliveries whose next attempt is due, the longest due first, each with its alert.

        An alert is None if it was deleted meanwhile.
        """
        ...

    def update(self, deliveries: Sequence[Delivery]) -> None:
        """Records what became of attempts, in one transaction."""
        ...

    def deliveries(self, before: DeliveryPosition | None, limit: int, *, failed_only: bool) -> list[PlacedDelivery]:
        """Returns deliveries before a position, newest first."""
        ...

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Returns one delivery."""
        ...


@dataclass(frozen=True, slots=True)
class Parcel:
    """Something to say, and where."""

    id: str
    """The same in each repetition."""
    channel: Channel
    secret: str
    """What signs a webhook. Empty: nothing does."""
    words: Words
    created_ms: int


class Failure(NamedTuple):
    """Why something did not arrive."""

    problem: str
    for_good: bool = False
    """The receiver wants nothing more, so it is of no use to try again."""


class Courier(Protocol):
    """Takes alerts to channels. It outlives a ledger that is killed."""

    def leftovers(self) -> Mapping[str, Failure | None] | None:
        """Returns what became of a batch whose ledger died, by id; None while it is still under way."""
        ...

    def forget(self) -> None:
        """Forgets the latest batch, because its results are recorded."""
        ...

    def try_one(self, parcel: Parcel) -> Failure | None:
        """Sends one without a note of it. Returns why it did not arrive. Never raises."""
        ...

    def send(self, parcels: Sequence[Parcel]) -> Mapping[str, Failure | None]:
        """Sends all. Returns for each id why it did not arrive, or None if it did. Never raises."""
        ...
