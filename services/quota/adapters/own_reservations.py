"""The open reservations that this process made, so that a store that lost them gets them back."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from services.quota.domain.reservation import Reservation

# Far more than Envoy lets run at once. Beyond it the oldest is left to the store.
_MOST = 100_000
_DOUBT_ROUNDS = 20


class OwnReservations:
    """May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Reservation] = {}
        self._doubtful: dict[str, int] = {}

    def add(self, reservation: Reservation) -> None:
        """It was made."""
        with self._lock:
            self._open[reservation.id] = reservation
            if len(self._open) > _MOST:
                del self._open[next(iter(self._open))]

    def drop(self, ids: Iterable[str]) -> None:
        """They have ended."""
        with self._lock:
            for name in ids:
                self._open.pop(name, None)

    def all(self) -> list[Reservation]:
        """Those that have not ended, as far as is known here; oldest first."""
        with self._lock:
            return list(self._open.values())

    def doubt(self, ids: Iterable[str]) -> None:
        """Nobody knows whether the store made or kept them, and no call uses them: they are to be released."""
        with self._lock:
            for name in ids:
                self._open.pop(name, None)
                self._doubtful[name] = _DOUBT_ROUNDS

    def doubtful(self) -> list[str]:
        """What is to be released. Named several times: the store may yet execute what it got before it hung."""
        with self._lock:
            named = list(self._doubtful)
            self._doubtful = {name: rounds - 1 for name, rounds in self._doubtful.items() if rounds > 1}
            return named
