"""The directory and its audit log in memory, for tests."""

from __future__ import annotations

import threading

from services.kernel.change import AuditEntry
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import RecordedChange


class MemoryDirectory:
    """`ports.DirectoryStore`."""

    def __init__(self) -> None:
        self._directory = Directory()
        self.entries: list[AuditEntry] = []
        """The audit entries, oldest first."""
        self._changing = threading.Lock()
        self._newer: Directory | None = None

    def load(self) -> Directory:
        """The stored directory."""
        return self._directory

    def newer(self) -> Directory | None:
        """The directory given to `changed_elsewhere` since the last question, if any."""
        newer, self._newer = self._newer, None
        return newer

    def changed_elsewhere(self, directory: Directory) -> None:
        """Acts as if another process had stored this directory."""
        self._directory = self._newer = directory

    def replace(self, change: RecordedChange) -> Directory:
        """Stores what `change` makes of the directory, and returns it."""
        with self._changing:
            self._directory, entries = change(self._directory)
            self.entries += entries
            return self._directory
