"""The directory and its audit log in memory, for tests."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from services.kernel.change import AuditEntry
from services.kernel.repetition import KEPT_MS, Answered, Repeatable, check_repetition
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import Answering, RecordedChange

A = TypeVar("A")


class MemoryDirectory:
    """`ports.DirectoryStore`."""

    def __init__(self) -> None:
        self._directory = Directory()
        self.entries: list[AuditEntry] = []
        """The audit entries, oldest first."""
        self._changing = threading.Lock()
        self._newer: Directory | None = None
        self._answered: dict[str, Answered[Any]] = {}

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

    def recall(self, request: Repeatable, kind: type[A], now_ms: int) -> Answered[A] | None:
        """The first request with this id and its answer; None if the id is new."""
        del kind
        first = self._answered.get(request.id)
        if first is None or now_ms >= first.time_ms + KEPT_MS:
            return None
        check_repetition(first.request, request)
        return first

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        """Stores what `change` makes of the directory, and returns it."""
        with self._changing:
            directory, entries = change(self._directory)
            answered = answering(directory) if answering is not None else None
            if answered is not None:
                self._answered[answered.request.id] = answered
            self._directory = directory
            self.entries += entries
            return self._directory
