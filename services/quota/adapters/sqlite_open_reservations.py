"""Open reservations: in the counters' file, and the latest of them in memory.

Reading a reservation's record back took half the time of settling it. So the latest reservations stay in memory. The
file decides which are open, and has the records of all others: of earlier processes, and of very long calls.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeVar

from services.quota.adapters.slices import RECORDS_AT_ONCE, in_chunks, in_slices
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_reservations import read_reservations
from services.quota.domain.counters.reservation import Reservation

# A kilobyte each.
_REMEMBERED = 20_000
_END_ALL = "DELETE FROM reservations WHERE id IN (SELECT value FROM json_each(?)) RETURNING id"
_STILL_OPEN = "SELECT id FROM reservations WHERE id IN (SELECT value FROM json_each(?))"

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Found:
    """Reservations that were open when somebody looked, without the lock of decisions."""

    by_id: Mapping[str, Reservation]
    rewrites: int
    """How often holds had been rewritten by then."""

    def rows_of(self, name: str) -> int:
        """How many rows the end of a reservation touches."""
        reservation = self.by_id.get(name)
        return 1 if reservation is None else 1 + len(reservation.holds)


class OpenReservations:
    """The open reservations of a file. Methods with a connection are for the thread with the lock of decisions."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._latest: dict[str, Reservation] = {}
        self._rewrites = 0

    def note(self, reservation: Reservation) -> None:
        """Remembers a reservation that the file has. The caller has the lock of decisions."""
        self._latest[reservation.id] = reservation
        if len(self._latest) > _REMEMBERED:
            del self._latest[next(iter(self._latest))]

    def find(self, names: Sequence[str]) -> Found:
        """The open reservations among these. Safe to call from any thread."""
        rewrites = self._rewrites
        latest = self._latest
        found = {name: reservation for name in names if (reservation := latest.get(name)) is not None}
        missing = [name for name in names if name not in found]
        if missing:
            with self._file.reading() as connection:
                found |= read_reservations(connection, missing)
        return Found(found, rewrites)

    def slices(
        self, items: Sequence[E], name_of: Callable[[E], str], times: Callable[[E], int] = lambda _: 1
    ) -> Iterator[tuple[list[E], Found]]:
        """Splits items about reservations into slices, each with what is open. Safe to call from any thread.

        `times`: how often an item touches the rows of its reservation.
        """
        for group in in_chunks(items, RECORDS_AT_ONCE):
            names = [name_of(item) for item in group]
            found = self.find(names)
            rows = [found.rows_of(name) * times(item) for name, item in zip(names, group, strict=True)]
            for some in in_slices(zip(group, rows, strict=True), itemgetter(1)):
                yield [item for item, _ in some], found

    def end(self, connection: sqlite3.Connection, names: Iterable[str], found: Found) -> dict[str, Reservation]:
        """Deletes the open reservations among these, and returns them by id. `forget` them after the commit."""
        by_id = found.by_id
        if found.rewrites != self._rewrites:
            by_id = read_reservations(connection, list(names))
        known = json.dumps([name for name in names if name in by_id])
        return {name: by_id[name] for (name,) in connection.execute(_END_ALL, (known,)).fetchall()}

    def forget(self, names: Iterable[str]) -> None:
        """Forgets reservations that have ended."""
        for name in names:
            self._latest.pop(name, None)

    def still_open(self, connection: sqlite3.Connection, names: Sequence[str]) -> set[str]:
        """Those of these reservations that are still open."""
        return {name for (name,) in connection.execute(_STILL_OPEN, (json.dumps(names),))}

    def replace(self, reservations: Iterable[Reservation]) -> None:
        """Takes over reservations whose holds were rewritten in the file. The caller has the lock of decisions."""
        for reservation in reservations:
            if reservation.id in self._latest:
                self._latest[reservation.id] = reservation
        # At the end: whoever looked before this moment has to look again.
        self._rewrites += 1
