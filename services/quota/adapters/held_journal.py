"""A journal on disk of what open calls hold, from which a store that lost its holds gets them back.

It covers the calls of dead and hanging quota processes, too.

Each quota process writes a file of its own, and the process that restores the store reads all of them. The journal
writes a line before it asks the store, so the store never has a hold that the journal lacks. The journal outlives the
process but not the machine, because Envoy dies with the machine. `docs/adr/0015-what-calls-hold-is-on-disk.md` says
why.

A line is `[id, request, epoch, record]` for a new reservation, and only the id for one that has ended. Each line starts
with its line break, so a line that a full disk or a kill cuts off spoils no other line.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import orjson

from services.kernel.errors import Unavailable
from services.quota.adapters.reservation_record import read_reservation, write_record
from services.quota.domain.counters.reservation import Reservation

_NAME = "held-{}.jsonl"
# Far more than Envoy lets run at once. Beyond this number the journal drops the oldest, and only the store has it.
MOST_HELD = 100_000
REWRITE_BYTES = 8 * 1024 * 1024

_log = logging.getLogger("spendgate.quota")


class HeldJournal:
    """The file of one quota process. Safe to use from any of its threads."""

    def __init__(self, folder: Path, number: int = 1) -> None:
        """Continues the file that the same quota process wrote before a restart."""
        self._folder = folder
        self._path = folder / _NAME.format(number)
        self._lock = threading.Lock()
        self._open = _open_in(self._path)
        self._asking = set[str]()
        self._file = self._rewritten()
        self._bytes = 0

    def add(self, reservation: Reservation) -> None:
        """Writes a reservation down before the store makes it. A call of `confirm` or `drop` follows.

        Raises:
            Unavailable: the file cannot be written.
        """
        line = _write(reservation)
        with self._lock:
            self._append(line)
            self._open[reservation.id] = line
            self._asking.add(reservation.id)
            if len(self._open) > MOST_HELD:
                self._forget([next(iter(self._open))])

    def confirm(self, ids: Iterable[str]) -> None:
        """Notes that the store has made these reservations."""
        with self._lock:
            self._asking.difference_update(ids)

    def drop(self, ids: Iterable[str]) -> None:
        """Notes that these reservations have ended or were never made. They may belong to other quota processes.

        A failure to write this does no harm: if a hold comes back after its end, the ledger ends it again.
        """
        names = list(ids)
        if names:
            with self._lock:
                self._forget(names)

    def ids(self) -> list[str]:
        """The ids of this quota process that the store made and whose end the journal does not know, oldest first."""
        with self._lock:
            return [name for name in self._open if name not in self._asking]

    def of_all_quotas(self) -> Iterator[Reservation]:
        """The open reservations of all quota processes, whether these run or not."""
        for line in _open_in(*sorted(self._folder.glob(_NAME.format("*")))).values():
            name, request_id, epoch, record = orjson.loads(line)
            yield read_reservation(name, request_id, epoch, record)

    def close(self) -> None:
        """Closes the file and keeps it."""
        self._file.close()

    def _forget(self, ids: list[str]) -> None:
        for name in ids:
            self._open.pop(name, None)
            self._asking.discard(name)
        try:
            self._append(b"".join(b"\n" + orjson.dumps(name) for name in ids))
        except Unavailable as error:
            _log.warning("%s", error)

    def _append(self, text: bytes) -> None:
        try:
            if self._bytes > REWRITE_BYTES:
                full, self._file, self._bytes = self._file, self._rewritten(), 0
                full.close()
            written = self._file.write(text)
        except OSError as error:
            raise Unavailable(f"the holds of calls cannot be written to {self._path.name}: {error}") from error
        if written < len(text):
            raise Unavailable(f"the holds of calls cannot be written to {self._path.name}: a line was cut off")
        self._bytes += written

    def _rewritten(self) -> FileIO:
        """Replaces the file by one with only the open reservations, and opens it."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(self._open.values()))
        fresh.replace(self._path)
        return FileIO(self._path, "a")


def _write(reservation: Reservation) -> bytes:
    record = orjson.Fragment(write_record(reservation))
    return b"\n" + orjson.dumps((reservation.id, reservation.request_id, reservation.epoch, record))


def _open_in(*paths: Path) -> dict[str, bytes]:
    """The lines of open reservations, by id. One quota process may end a reservation that another one made."""
    made: dict[str, bytes] = {}
    ended: set[str] = set()
    for path in paths:
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                entry: Any = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(entry, str):
                ended.add(entry)
            else:
                made[entry[0]] = b"\n" + line
    return {name: line for name, line in made.items() if name not in ended}
