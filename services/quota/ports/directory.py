"""Everything that administrators set, and the plan and prices that others send: where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.kernel.change import AuditEntry
from services.quota.domain.directory.directory import Directory

RecordedChange = Callable[[Directory], tuple[Directory, Sequence[AuditEntry]]]
"""Takes everything that is stored. Returns what to store in its place, and the audit entries of the difference."""


class DirectoryStore(Protocol):
    """Keeps teams, keys, policies, overrides and admin tokens, and what was ever changed of them.

    Raises:
        services.kernel.errors.Unavailable: the store cannot be read or written now; nothing was changed.
    """

    def load(self) -> Directory:
        """All that is stored."""
        ...

    def newer(self) -> Directory | None:
        """All that is stored, if it is not what this store returned last here or by `replace`; else None."""
        ...

    def replace(self, change: RecordedChange) -> Directory:
        """Stores what `change` makes of all that is stored, with its audit entries, in one transaction.

        Returns what is stored then.
        """
        ...


class AuditTrail(Protocol):
    """Keeps for good what was done.

    Raises:
        services.kernel.errors.Unavailable: it cannot be written now; nothing was added.
    """

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Adds entries of what changes elsewhere than in the directory, which is stored with its own."""
        ...


class SnapshotStore(Protocol):
    """Keeps the last plan and prices as they were received, so that quota starts without router and ledger."""

    def save(self, name: str, version: str, body: bytes) -> None:
        """Replaces what is kept under `name`."""
        ...

    def load(self, name: str) -> bytes | None:
        """What is kept under `name`, None when nothing ever was."""
        ...
