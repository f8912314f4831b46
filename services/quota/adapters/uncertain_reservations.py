"""Reservations of which nobody knows whether the store made or kept them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

_ROUNDS = 20


class UncertainReservations:
    """May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rounds_left: dict[str, int] = {}

    def add(self, ids: Iterable[str]) -> None:
        """No call uses them: they are to be released."""
        with self._lock:
            self._rounds_left.update(dict.fromkeys(ids, _ROUNDS))

    def take(self) -> list[str]:
        """What is to be released. Named several times: the store may yet execute what it got before it hung."""
        with self._lock:
            named = list(self._rounds_left)
            self._rounds_left = {name: left - 1 for name, left in self._rounds_left.items() if left > 1}
            return named
