"""Notes of a counter store that last as long as the test."""

from __future__ import annotations


class MemorySnapshots:
    """`services.quota.ports.SnapshotStore` in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces what is kept under `name`."""
        self._kept[name] = body

    def load(self, name: str) -> bytes | None:
        """What is kept under `name`."""
        return self._kept.get(name)
