"""Reservations that the store may or may not have made or kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable

_ROUNDS = 20


class UncertainReservations:
    """A list of uncertain reservations to release. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rounds_left: dict[str, int] = {}

    def add(self, ids: Iterable[str]) -> None:
        """Adds reservations to release. No call uses them."""
        with self._lock:
            self._rounds_left.update(dict.fromkeys(ids, _ROUNDS))

    def take(self) -> list[str]:
        """The ids to release now. Each comes up several times, as a store that hung may still execute old commands."""
        with self._lock:
            named = list(self._rounds_left)
            self._rounds_left = {name: left - 1 for name, left in self._rounds_left.items() if left > 1}
            return named
