"""Ends open reservations in the counters' file without reading back those that this process made.

Reading a reservation's record back took half the time of settling it. So the latest reservations stay in memory. The
file decides which are open, and has the records of all others: of earlier processes, and of very long calls.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from services.quota.adapters.sqlite_reservations import end_reservation
from services.quota.domain.counters.reservation import Reservation

# A kilobyte each.
_REMEMBERED = 20_000
_END_ALL = "DELETE FROM reservations WHERE id IN (SELECT value FROM json_each(?)) RETURNING id"


class OpenReservations:
    """The latest reservations of this process. Not thread-safe: its user lets one thread at a time call it."""

    def __init__(self) -> None:
        self._latest: dict[str, Reservation] = {}

    def note(self, reservation: Reservation) -> None:
        """Remembers a reservation that the file has."""
        self._latest[reservation.id] = reservation
        if len(self._latest) > _REMEMBERED:
            del self._latest[next(iter(self._latest))]

    def end(self, connection: sqlite3.Connection, names: Sequence[str]) -> dict[str, Reservation]:
        """Deletes the open reservations among these, and returns them by id. `forget` them after the commit."""
        known = [name for name in names if name in self._latest]
        ended = {name: self._latest[name] for (name,) in connection.execute(_END_ALL, (json.dumps(known),)).fetchall()}
        for name in names:
            if name not in self._latest and (reservation := end_reservation(connection, name)):
                ended[name] = reservation
        return ended

    def forget(self, names: Iterable[str]) -> None:
        """Forgets reservations that have ended."""
        for name in names:
            self._latest.pop(name, None)

    def forget_all(self) -> None:
        """Forgets all, because the file now has other holds for them."""
        self._latest.clear()
