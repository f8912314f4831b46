"""The one way in which the directory changes: stored with its audit entries, then put in force."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from services.kernel.change import NO_VERBS, Action, AuditEntry, Authorship, audit_entries
from services.kernel.clock import Clock
from services.quota.domain.configuration import describe, differences
from services.quota.domain.directory import Directory, without_expired
from services.quota.ports import DirectoryStore
from services.quota.usecases.current import Current

Change = Callable[[Directory], Directory]


class Amend:
    """Changes the directory. Nothing else writes to the store, so nothing changes without an entry."""

    def __init__(self, *, store: DirectoryStore, current: Current, clock: Clock) -> None:
        self._store = store
        self._current = current
        self._clock = clock
        self._changing = threading.Lock()

    def preview(self, change: Change) -> tuple[Directory, Directory]:
        """What is stored, and what a change would make of it."""
        before = without_expired(self._store.load(), self._clock.now_ms())
        return before, change(before)

    def refresh(self) -> None:
        """Takes over what another process changed."""
        with self._changing:
            newer = self._store.newer()
            if newer is not None:
                self._current.set_directory(newer)

    def __call__(
        self, change: Change, *, by: Authorship, verbs: Mapping[Action, str] = NO_VERBS
    ) -> tuple[Directory, Directory]:
        """What was stored, and what the change made of it. `verbs`: see `services.kernel.change.audit_entries`.

        Raises:
            Unavailable: the store cannot be written; nothing was changed.
        """
        now_ms = self._clock.now_ms()
        replaced = Directory()

        def recorded(stored: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
            nonlocal replaced
            # What has ended by the clock is nobody's doing: it goes without an entry.
            replaced = before = without_expired(stored, now_ms)
            after = change(before)
            changes = differences(before, after)
            return after, audit_entries(changes, describe(before), describe(after), by=by, time_ms=now_ms, verbs=verbs)

        # The lock keeps the order of what is believed the same as that of what is stored.
        with self._changing:
            after = self._store.replace(recorded)
            self._current.set_directory(after)
        return replaced, after
