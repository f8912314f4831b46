"""Ends reservations that are open although their calls are settled.

Quota puts back what calls held when it finds its counters again. Where it was killed meanwhile it may do so twice, and
the call was settled in between; or a call was settled before anybody held it again. The sums need nothing more: what it
took is in the counters, or the comparison with the entries sees to it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from services.ledger.ports import OpenReservations, Outbox

_log = logging.getLogger("spendgate.ledger.sweep")

PAGE = 1_000


class Sweep:
    """Releases what is held for calls that are settled. From the thread that settles, so that none is meanwhile."""

    def __init__(self, *, outbox: Outbox, held: OpenReservations) -> None:
        self._outbox = outbox
        self._held = held
        self._released = 0

    @property
    def released(self) -> int:
        """Reservations released here since this process started."""
        return self._released

    def release_all(self) -> None:
        """Looks through everything that is open.

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
        """Releases those of at most `PAGE` whose calls are settled. Returns how many of them were open.

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
