"""Releases reservations that are still open although their calls are settled.

When quota recovers its counters it puts back what calls held. If it is killed meanwhile it may do so twice, and a call
may settle in between; or a call may settle before anybody holds it again. The sums are right either way: the call is in
the counters, or reconciling puts it there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from services.ledger.ports import OpenReservations, Outbox

_log = logging.getLogger("spendgate.ledger.sweep")

PAGE = 1_000


class Sweep:
    """Releases what settled calls still hold. Runs on the settling thread, so that nothing settles meanwhile."""

    def __init__(self, *, outbox: Outbox, held: OpenReservations) -> None:
        self._outbox = outbox
        self._held = held
        self._released = 0

    @property
    def released(self) -> int:
        """Reservations released here since this process started."""
        return self._released

    def release_all(self) -> None:
        """Releases all open reservations whose calls are settled.

        Raises:
            Unavailable: quota does not answer.
        """
        after = ""
        while page := self._held.open_after(after, PAGE):
            self.release_among(page)
            if len(page) < PAGE:
                break
            after = page[-1]

    def release_among(self, reservations: Sequence[str]) -> int:
        """Releases those of `reservations`, at most `PAGE`, whose calls are settled. Returns how many were open.

        Raises:
            Unavailable: quota does not answer.
        """
        settled = sorted(self._outbox.settled_of(reservations))
        if not settled:
            return 0
        released = self._held.release_reservations(settled)
        self._released += released
        if released:
            _log.warning("%d reservations were open although settled, first %s; released", released, settled[0])
        return released
