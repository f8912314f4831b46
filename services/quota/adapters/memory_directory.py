"""The directory and its audit log in memory, for tests."""

from __future__ import annotations

import threading

from services.kernel.change import AuditEntry
from services.quota.domain.directory import Directory
from services.quota.ports import RecordedChange


class MemoryDirectory:
    """`ports.DirectoryStore`."""

    def __init__(self) -> None:
        self._directory = Directory()
        self.entries: list[AuditEntry] = []
        """Oldest first."""
        self._changing = threading.Lock()

    def load(self) -> Directory:
        """All that is stored."""
        return self._directory

    def replace(self, change: RecordedChange) -> Directory:
        """Stores what `change` makes of all that is stored, and returns it."""
        with self._changing:
            self._directory, entries = change(self._directory)
            self.entries += entries
            return self._directory
