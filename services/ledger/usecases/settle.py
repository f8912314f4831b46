"""Reports booked entries to quota until quota confirms them.

Unsettled entries form an outbox. Each is sent at least once, and quota applies it once. Quota's answer names the
thresholds that were crossed. A reservation that can no longer get a record is booked here as an estimate, and then
settled like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from services.kernel.clock import Clock
from services.ledger.domain.charge import PriceOf, charge_call
from services.ledger.domain.entry import Entry, OverdueReservation
from services.ledger.domain.spooled import Booking
from services.ledger.ports import EntryStore, Epochs, Outbox, Quota
from services.ledger.usecases.sweep import Sweep

_log = logging.getLogger("spendgate.ledger.settle")

BATCH = 500
_OVERDUE_PAGE = 200
OVERDUE_SLACK_MS = 30_000
"""Added to the longest life of a stream, for a clock that was set and for a Check that took long."""
EPOCH_GRACE_MS = 60_000
"""How long to report an ended epoch at least. A Check under way when Envoy died may reserve a little later."""


class Settle:
    """Settles, releases and expires, from one thread."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        store: EntryStore,
        epochs: Epochs,
        quota: Quota,
        sweep: Sweep,
        price_of: PriceOf,
        booked_through_ms: Callable[[], int | None],
        stream_ms_max: int,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._epochs = epochs
        self._quota = quota
        self._sweep = sweep
        self._price_of = price_of
        self._booked_through_ms = booked_through_ms
        self._stream_ms_max = stream_ms_max
        self._clock = clock

    def settle(self) -> int:
        """Settles booked entries. Returns their number.

        Raises:
            Unavailable: quota does not answer. Everything unreported stays in the outbox.
        """
        count = 0
        while batch := self._outbox.unsettled(BATCH):
            ended, crossings = self._quota.settle(batch, self._outbox.last_crossing())
            ids = [settlement.reservation for settlement in batch]
            unknown = [each for each in ids if each not in ended]
            if unknown:
                # It would be sent for ever: quota cannot settle a reservation that it does not hold.
                _log.warning("quota knows nothing of %d booked reservations, first %s", len(unknown), unknown[0])
            self._outbox.mark_settled(ids, crossings, self._clock.now_ms())
            count += len(ids)
            if len(batch) < BATCH:
                break
        return count

    def release(self) -> int:
        """Releases reservations of requests that never left the gateway. Returns how many were sent.

        Raises:
            Unavailable: quota does not answer.
        """
        count = 0
        while request_ids := self._outbox.pending_releases(BATCH):
            self._quota.release(request_ids)
            self._outbox.mark_released(request_ids)
            count += len(request_ids)
            if len(request_ids) < BATCH:
                break
        return count

    def expire(self) -> int:
        """Books reservations that can no longer get a record. Returns how many it booked or ended.

        It releases those that are settled. Those that are booked wait for `settle`.

        Raises:
            Unavailable: quota does not answer.
        """
        booked_through_ms = self._booked_through_ms()
        if booked_through_ms is None:
            return 0
        asked_ms = self._clock.now_ms()
        epochs = self._epochs.uncleared()
        overdue = self._quota.overdue(epochs, booked_through_ms - self._stream_ms_max - OVERDUE_SLACK_MS, _OVERDUE_PAGE)
        if overdue:
            return self._sweep.release_among([each.reservation for each in overdue]) + self._book(overdue)
        if epochs:
            self._epochs.clear(epochs, asked_ms - EPOCH_GRACE_MS, asked_ms)
        return 0

    def _book(self, overdue: list[OverdueReservation]) -> int:
        """Books those that are not booked yet. Returns their number."""
        now_ms = self._clock.now_ms()
        recorded = self._store.attempts_of([each.request_id for each in overdue])
        entries = []
        for each in overdue:
            attempts = recorded.get(each.request_id, [])
            call = each.as_call(max((attempt.attempt for attempt in attempts), default=0))
            entries.append(Entry(call, charge_call(call, attempts, self._price_of), each.epoch, now_ms))
        booked = self._store.book(Booking(entries=tuple(entries), now_ms=now_ms))
        if booked:
            _log.warning("%d reservations have no record; booked as expected", len(booked))
        return len(booked)
