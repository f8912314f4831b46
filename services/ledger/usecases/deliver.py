"""Sends alerts to the channels that are to hear of them, until each has arrived or nobody can take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from services.kernel.clock import Clock
from services.kernel.errors import NotFound
from services.ledger.delivery_ports import Courier, DeliveryPosition, DeliveryStore, Failure, Parcel, PlacedDelivery
from services.ledger.domain.alert_text import Words, words_of
from services.ledger.domain.configuration import Channel
from services.ledger.domain.delivery import Delivery, DeliveryState, plan
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.settlement import Alert

DELIVER_INTERVAL_MS = 1_000
_AT_ONCE = 32
_PLANNED_AT_ONCE = 1_000
_TEST = Words(
    title="A test of this channel",
    text="Somebody tried whether this channel works: spendgate channels test. It does.",
    kind="channel.test",
    data={},
)


class Deliver:
    """One round of the thread that sends, and what people ask of deliveries.

    If the ledger dies, its courier goes on, and the next ledger begins with what that one did. Only if both die during
    an attempt is it repeated. It has the same id, so that a receiver can tell.
    """

    def __init__(
        self,
        store: DeliveryStore,
        channels: Callable[[], Mapping[str, Channel]],
        secret_of: Callable[[str], str | None],
        courier: Courier,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        """`channels` are those in force, by name.

        `secret_of` returns the value of an environment variable, and raises OSError while nobody can say it.
        """
        self._store = store
        self._channels_in_force = channels
        self._secret_of = secret_of
        self._courier = courier
        self._clock = clock
        self._new_id = new_id

    def __call__(self) -> int | None:
        """Plans deliveries of new alerts, and makes the attempts that are due. Returns 0 if more are due."""
        leftovers = self._courier.leftovers()
        if leftovers is None:
            return None
        if leftovers:
            self._record([one for one in map(self._store.delivery, leftovers) if one is not None], leftovers)
        alerts = self._store.undelivered(_PLANNED_AT_ONCE)
        if alerts:
            self._store.add_deliveries(list(plan(alerts, self._clock.now_ms(), self._new_id)))
        due = self._store.due(self._clock.now_ms(), _AT_ONCE)
        if due:
            channels = self._channels_in_force()
            ready = [(delivery, self._parcel(delivery, alert, channels)) for delivery, alert in due]
            unsendable = {delivery.id: parcel for delivery, parcel in ready if isinstance(parcel, Failure)}
            sent = self._courier.send([parcel for _, parcel in ready if isinstance(parcel, Parcel)])
            self._record([delivery for delivery, _ in ready], {**unsendable, **sent})
        return 0 if len(due) == _AT_ONCE or len(alerts) == _PLANNED_AT_ONCE else None

    def _parcel(
        self, delivery: Delivery, alert: Alert | SwitchAlert | None, channels: Mapping[str, Channel]
    ) -> Parcel | Failure:
        channel = channels.get(delivery.channel)
        if channel is None:
            return Failure(f"there is no channel {delivery.channel} any more", for_good=True)
        if alert is None:
            return Failure("the alert is not kept any more", for_good=True)
        return self._addressed(channel, words_of(alert), delivery.id, delivery.created_ms)

    def _addressed(self, channel: Channel, words: Words, parcel_id: str, created_ms: int) -> Parcel | Failure:
        name = channel.secret_env
        try:
            secret = self._secret_of(name) if name else ""
        except OSError as error:
            return Failure(f"{name} cannot be asked of `spendgate up`: {type(error).__name__}")
        if name and not secret:
            return Failure(f"{name}, to sign with, is not set where the gateway was started: set it, and restart")
        return Parcel(parcel_id, channel, secret or "", words, created_ms)

    def _record(self, deliveries: Sequence[Delivery], results: Mapping[str, Failure | None]) -> None:
        now_ms = self._clock.now_ms()
        waiting = [delivery for delivery in deliveries if delivery.state is DeliveryState.WAITING]
        self._store.update([_after(delivery, results[delivery.id], now_ms) for delivery in waiting])
        self._courier.forget()

    def channels(self) -> list[Channel]:
        """Returns the channels in force, by name."""
        return sorted(self._channels_in_force().values(), key=lambda channel: channel.name)

    def test(self, name: str) -> Failure | None:
        """Sends a test to a channel, at once and once. Returns why it did not arrive.

        Raises:
            NotFound: there is no such channel.
        """
        channel = self._channels_in_force().get(name)
        if channel is None:
            raise NotFound(f"there is no channel {name[:80]!r}: spendgate channels list shows all")
        parcel = self._addressed(channel, _TEST, self._new_id(), self._clock.now_ms())
        return parcel if isinstance(parcel, Failure) else self._courier.try_one(parcel)

    def deliveries(
        self, before: DeliveryPosition | None, limit: int, *, failed_only: bool
    ) -> tuple[list[Delivery], DeliveryPosition | None]:
        """Returns at most `limit` deliveries before a position, newest first, and where the next page begins."""
        found: list[PlacedDelivery] = self._store.deliveries(before, limit + 1, failed_only=failed_only)
        page = found[:limit]
        return [placed.delivery for placed in page], page[-1].position if len(found) > limit else None

    def retry(self, delivery_id: str) -> Delivery:
        """Lets a delivery that was given up begin anew. One that waits is tried at once; any other stays as it is.

        Raises:
            NotFound: there is no such delivery.
        """
        delivery = self._store.delivery(delivery_id)
        if delivery is None:
            raise NotFound(f"there is no delivery {delivery_id[:80]!r}: spendgate alerts deliveries shows all")
        if delivery.ended_ms is not None and delivery.state is not DeliveryState.FAILED:
            return delivery
        again = delivery.again(self._clock.now_ms())
        self._store.update([again])
        return again


def _after(delivery: Delivery, failure: Failure | None, now_ms: int) -> Delivery:
    if failure is None:
        return delivery.arrived(now_ms)
    return delivery.failed(failure.problem, now_ms, for_good=failure.for_good)
