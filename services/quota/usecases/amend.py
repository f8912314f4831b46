"""Amend: the only way to change the directory. It stores the change with its audit entries, then puts it in force."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from services.kernel.change import NO_VERBS, Action, AuditEntry, Authorship, audit_entries
from services.kernel.clock import Clock
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.configuration import describe, differences
from services.quota.domain.directory.directory import Directory, without_expired
from services.quota.ports.counters import PolicyAdoption, StoreUnreachable
from services.quota.ports.directory import DirectoryStore
from services.quota.usecases.live import Live

_log = logging.getLogger("spendgate.quota")

Edit = Callable[[Directory], Directory]


class Amend:
    """Changes the directory. Nothing else writes to the store, so no change lacks an audit entry."""

    def __init__(self, *, store: DirectoryStore, live: Live, adoption: PolicyAdoption | None, clock: Clock) -> None:
        """`adoption`: None before the counters are open. No call comes then, and a start adopts the directory."""
        self._store = store
        self._live = live
        self._adoption = adoption
        self._clock = clock
        self._changing = threading.Lock()
        self._adopted = False

    def preview(self, change: Edit) -> tuple[Directory, Directory]:
        """The stored directory, and the one that a change would make of it."""
        before = without_expired(self._store.load(), self._clock.now_ms())
        return before, change(before)

    def refresh(self) -> None:
        """Takes over the changes of other processes."""
        with self._changing:
            newer = self._store.newer()
            if newer is not None:
                self._put_in_force(newer)
            elif not self._adopted:
                self._put_in_force(self._store.load())

    def catch_up(self) -> None:
        """Takes over the stored directory, and moves the holds of calls to its policies, whatever was done before.

        A start needs this because it cannot know how far the previous process came. A process that finds others ahead
        needs it, too.

        Raises:
            Unavailable: the directory or the counters cannot be read or written; the old directory stays in force.
        """
        with self._changing:
            self._adopted = False
            self._put_in_force(self._store.load())

    def __call__(
        self, change: Edit, *, by: Authorship, verbs: Mapping[Action, str] = NO_VERBS
    ) -> tuple[Directory, Directory]:
        """Makes a change; returns the directory before and after. `verbs`: see `services.kernel.change.audit_entries`.

        Raises:
            Unavailable: the store cannot be written; nothing was changed.
        """
        now_ms = self._clock.now_ms()
        replaced = Directory()

        def recorded(stored: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
            nonlocal replaced
            # Overrides expire by the clock and by nobody's action, so they go without an audit entry.
            replaced = before = without_expired(stored, now_ms)
            after = change(before)
            changes = differences(before, after)
            return after, audit_entries(changes, describe(before), describe(after), by=by, time_ms=now_ms, verbs=verbs)

        # The lock puts directories in force in the order in which the store gets them.
        with self._changing:
            after = self._store.replace(recorded)
            self._put_in_force(after)
        return replaced, after

    def _put_in_force(self, directory: Directory) -> None:
        """Puts a stored directory in force. If the counter store fails, the holds follow when `refresh` tries again."""
        snapshot = self._live.snapshot_of(directory)
        if self._adoption is None:
            self._live.take(snapshot)
            return
        if self._adopted and directory.policies == self._live.snapshot.directory.directory.policies:
            self._live.take(snapshot)
            return
        self._adopted = False
        try:
            self._adoption.adopt(Adoption.of(snapshot), lambda: self._live.take(snapshot))
        except StoreUnreachable as error:
            # Permissions must not wait for the counters. Without counters quota admits no call under a limit anyway.
            _log.warning("policies are in force; holds of running calls follow when the counters are back: %s", error)
        else:
            self._adopted = True
