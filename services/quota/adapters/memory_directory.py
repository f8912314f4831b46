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
        self._newer: Directory | None = None

    def load(self) -> Directory:
        """All that is stored."""
        return self._directory

    def newer(self) -> Directory | None:
        """What `changed_elsewhere` was told since the last question."""
        newer, self._newer = self._newer, None
        return newer

    def changed_elsewhere(self, directory: Directory) -> None:
        """As if another process had stored this."""
        self._directory = self._newer = directory

    def replace(self, change: Callable[[Directory], Directory]) -> Directory:
        """Stores what `change` makes of all that is stored, and returns it."""
        with self._changing:
            self._directory = change(self._directory)
            return self._directory
