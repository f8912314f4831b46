"""Teams, policies and keys in memory, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.quota.domain.directory import Directory


class MemoryDirectory:
    """`ports.DirectoryStore`."""

    def __init__(self) -> None:
        self._directory = Directory()
        self._changing = threading.Lock()

    def load(self) -> Directory:
        """All that is stored."""
        return self._directory

    def replace(self, change: Callable[[Directory], Directory]) -> Directory:
        """Stores what `change` makes of all that is stored, and returns it."""
        with self._changing:
            self._directory = change(self._directory)
            return self._directory
