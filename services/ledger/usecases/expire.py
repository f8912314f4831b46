"""Books the calls that left no line: their reservations can no longer get a record.

Envoy writes nothing more of a call once its run is over and booked, or once the longest stream would have ended. Such
a call is booked at what it was expected to take, and then settled like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.ledger.domain.charge import PriceOf, charge_call
from services.ledger.domain.entry import Entry, OverdueReservation
from services.ledger.domain.spooled import Booking
from services.ledger.ports import Books, Quota
from services.ledger.usecases.sweep import Sweep

_log = logging.getLogger("spendgate.ledger.expire")

_OVERDUE_PAGE = 200
OVERDUE_SLACK_MS = 30_000
"""Added to the longest life of a stream, for a clock that was set and for a Check that took long."""
EPOCH_GRACE_MS = 60_000
"""How long to report an ended epoch at least. A Check under way when Envoy died may reserve a little later."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to when the records of calls are complete."""

    booked_through_ms: Callable[[], int | None]
    """Every line written before this moment is booked. None until the first pass."""
    stream_ms_max: int
    """The longest life of a stream."""

    def overdue_before_ms(self) -> int | None:
        """A reservation made before this moment can no longer get a record. None while that is unknown."""
        booked_through_ms = self.booked_through_ms()
        return None if booked_through_ms is None else booked_through_ms - self.stream_ms_max - OVERDUE_SLACK_MS


class Expire:
    """Books overdue reservations, from the thread that settles."""

    def __init__(
        self, *, books: Books, quota: Quota, sweep: Sweep, price_of: PriceOf, watermark: Watermark, clock: Clock
    ) -> None:
        self._books = books
        self._quota = quota
        self._sweep = sweep
        self._price_of = price_of
        self._watermark = watermark
        self._clock = clock

    def __call__(self) -> int:
        """Books reservations that can no longer get a record. Returns how many it booked or ended.

        It releases those that are settled. Those that are booked wait for `Settle`.

        Raises:
            Unavailable: quota does not answer.
        """
        before_ms = self._watermark.overdue_before_ms()
        if before_ms is None:
            return 0
        asked_ms = self._clock.now_ms()
        epochs = self._books.uncleared()
        overdue = self._quota.overdue(epochs, before_ms, _OVERDUE_PAGE)
        if overdue:
            return self._sweep.release_among([each.reservation for each in overdue]) + self._book(overdue)
        if epochs:
            self._books.clear(epochs, asked_ms - EPOCH_GRACE_MS, asked_ms)
        return 0

    def _book(self, overdue: list[OverdueReservation]) -> int:
        """Books those that are not booked yet. Returns their number."""
        now_ms = self._clock.now_ms()
        recorded = self._books.attempts_of([each.request_id for each in overdue])
        entries = []
        for each in overdue:
            attempts = recorded.get(each.request_id, [])
            call = each.as_call(max((attempt.attempt for attempt in attempts), default=0))
            entries.append(Entry(call, charge_call(call, attempts, self._price_of), each.epoch, now_ms))
        booked = self._books.book(Booking(entries=tuple(entries), now_ms=now_ms))
        if booked:
            _log.warning("%d reservations have no record; booked as expected", len(booked))
        return len(booked)
