"""Reports booked entries to quota until quota confirms them.

Unsettled entries form an outbox. Each is sent at least once, and quota applies it once. Quota's answer names the
thresholds that were crossed.
"""

from __future__ import annotations

import logging

from services.kernel.clock import Clock
from services.ledger.ports import Outbox, Quota

_log = logging.getLogger("spendgate.ledger.settle")

BATCH = 128
"""Quota reads a batch in one go, and calls wait for the interpreter meanwhile."""


class Settle:
    """Settles and releases, from one thread."""

    def __init__(self, *, outbox: Outbox, quota: Quota, clock: Clock) -> None:
        self._outbox = outbox
        self._quota = quota
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
                # It would be sent forever: quota cannot settle a reservation that it does not hold.
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
