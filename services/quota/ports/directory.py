"""Stores for everything that administrators set, and for the plan and prices that other services send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.kernel.change import AuditEntry
from services.kernel.errors import Unavailable
from services.kernel.repetition import Answered, RequestMemory
from services.quota.domain.directory.directory import Directory

RecordedChange = Callable[[Directory], tuple[Directory, Sequence[AuditEntry]]]
"""Takes the stored directory. Returns the one to store in its place, and the audit entries of the difference."""

Answering = Callable[[Directory], Answered[object] | None]
"""Takes the directory to store. Returns the request that asked for it, with its answer, if the client may repeat it."""


class Contended(Unavailable):
    """Another process wrote at the same time, and nothing was changed. The next try sees what it wrote."""


class DirectoryStore(RequestMemory, Protocol):
    """Stores teams, keys, policies, overrides and admin tokens, and the audit log of all their changes.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read or written now; nothing was changed.
    """

    def load(self) -> Directory:
        """The stored directory."""
        ...

    def newer(self) -> Directory | None:
        """The stored directory if it is newer than the one last returned here or from `replace`; else None."""
        ...

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        """Stores what `change` makes of the directory, with its audit entries, in one transaction.

        It also remembers the request, and forgets those of admin tokens that are gone. Returns the directory that is
        stored then.

        Raises:
            Contended: another process wrote at the same time.
        """
        ...


class AuditTrail(RequestMemory, Protocol):
    """Keeps audit entries for good.

    Raises:
        services.kernel.errors.Unavailable: the log cannot be written now; nothing was added.
    """

    def append(self, entries: Sequence[AuditEntry], answered: Answered[object] | None = None) -> None:
        """Adds entries about changes outside the directory, and remembers their request, in one transaction.

        The directory stores its own entries.

        Raises:
            Contended: another process wrote at the same time.
        """
        ...


class SnapshotStore(Protocol):
    """Stores the last received plan and prices, so that quota can start without the router and the ledger."""

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces the snapshot under `name`."""
        ...

    def load(self, name: str) -> bytes | None:
        """The snapshot under `name`; None if there never was one."""
        ...
