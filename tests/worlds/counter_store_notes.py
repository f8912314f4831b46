"""The records of a counter store besides its counters, for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.adapters.sqlite_file import SqliteFile


@contextmanager
def open_file(folder: Path) -> Iterator[SqliteFile]:
    """The file that quotas of this folder share."""
    path = folder / "quota.sqlite"
    if not path.exists():
        engine = open_engine(path)
        migrate(engine, "services.quota")
        engine.dispose()
    file = SqliteFile(path)
    yield file
    file.close()


@contextmanager
def open_doubts(folder: Path) -> Iterator[SqliteDoubts]:
    """The doubts in the file that the quotas of this folder share."""
    with open_file(folder) as file:
        yield SqliteDoubts(file)


class MemorySnapshots:
    """`services.quota.ports.SnapshotStore` in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces the snapshot under `name`."""
        self._kept[name] = body

    def load(self, name: str) -> bytes | None:
        """The snapshot under `name`."""
        return self._kept.get(name)
