"""What open calls hold, on disk: a store that lost it gets it back, also what a quota that died or hangs had made.

Each quota writes a file of its own, and whoever restores the store reads all of them. A line is written before the
store is asked, so that nothing can be in the store and not here. It outlives the process and not the machine, whose
Envoy dies with it. `docs/adr/0015-what-calls-hold-is-on-disk.md` says why.

A line holds `[id, request, epoch, record]` when a reservation is made, and its id when it has ended. Each begins with
the line's break: what a full disk or a kill cut off spoils nothing but itself.
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
# Far more than Envoy lets run at once. Beyond it the oldest is left to the store.
MOST_HELD = 100_000
REWRITE_BYTES = 8 * 1024 * 1024

_log = logging.getLogger("spendgate.quota")


class HeldJournal:
    """The file of one quota. May be used from any thread of its process."""

    def __init__(self, folder: Path, number: int = 1) -> None:
        """Goes on with what the same quota wrote before it was started again."""
        self._folder = folder
        self._path = folder / _NAME.format(number)
        self._lock = threading.Lock()
        self._open = _open_in(self._path)
        self._asking = set[str]()
        self._file = self._rewritten()
        self._bytes = 0

    def add(self, reservation: Reservation) -> None:
        """The store is to be asked to make it: `confirm` or `drop` follows.

        Raises:
            Unavailable: it cannot be written down.
        """
        line = _write(reservation)
        with self._lock:
            self._append(line)
            self._open[reservation.id] = line
            self._asking.add(reservation.id)
            if len(self._open) > MOST_HELD:
                self._forget([next(iter(self._open))])

    def confirm(self, ids: Iterable[str]) -> None:
        """The store has made them."""
        with self._lock:
            self._asking.difference_update(ids)

    def drop(self, ids: Iterable[str]) -> None:
        """They have ended, also those of other quotas, or were not made.

        That this cannot be written down is no harm: the ledger ends what is put back and had ended.
        """
        names = list(ids)
        if names:
            with self._lock:
                self._forget(names)

    def ids(self) -> list[str]:
        """Those of this quota that the store made and that have not ended, as far as is known here; oldest first."""
        with self._lock:
            return [name for name in self._open if name not in self._asking]

    def everybodys(self) -> Iterator[Reservation]:
        """Those of all quotas, whether they run or not."""
        for line in _open_in(*sorted(self._folder.glob(_NAME.format("*")))).values():
            name, request_id, epoch, record = orjson.loads(line)
            yield read_reservation(name, request_id, epoch, record)

    def close(self) -> None:
        """Keeps the file."""
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
            raise Unavailable(f"what calls hold cannot be written to {self._path.name}: {error}") from error
        if written < len(text):
            raise Unavailable(f"what calls hold cannot be written to {self._path.name}: it was cut off")
        self._bytes += written

    def _rewritten(self) -> FileIO:
        """Puts a file with nothing but what is open into the place of the old one, and opens it."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(self._open.values()))
        fresh.replace(self._path)
        return FileIO(self._path, "a")


def _write(reservation: Reservation) -> bytes:
    record = orjson.Fragment(write_record(reservation))
    return b"\n" + orjson.dumps((reservation.id, reservation.request_id, reservation.epoch, record))


def _open_in(*paths: Path) -> dict[str, bytes]:
    """What is open by these files, by id, each as it is written. Who ends a reservation need not have made it."""
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
