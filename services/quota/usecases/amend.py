"""The one way in which the directory changes: stored with its audit entries, then put in force."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from services.kernel.change import NO_VERBS, Action, AuditEntry, Authorship, audit_entries
from services.kernel.clock import Clock
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.configuration import describe, differences
from services.quota.domain.directory.directory import Directory, without_expired
from services.quota.ports import CounterStore, DirectoryStore, StoreUnreachable
from services.quota.usecases.live import Live

_log = logging.getLogger("spendgate.quota")

Edit = Callable[[Directory], Directory]


class Amend:
    """Changes the directory. Nothing else writes to the store, so nothing changes without an entry."""

    def __init__(self, *, store: DirectoryStore, live: Live, counters: CounterStore | None, clock: Clock) -> None:
        """`counters`: None before they are open, when nothing is decided by what is stored: a start adopts it."""
        self._store = store
        self._live = live
        self._counters = counters
        self._clock = clock
        self._changing = threading.Lock()
        self._adopted = False

    def preview(self, change: Edit) -> tuple[Directory, Directory]:
        """What is stored, and what a change would make of it."""
        before = without_expired(self._store.load(), self._clock.now_ms())
        return before, change(before)

    def refresh(self) -> None:
        """Takes over what another process changed."""
        with self._changing:
            newer = self._store.newer()
            if newer is not None:
                self._put_in_force(newer)
            elif not self._adopted:
                self._put_in_force(self._store.load())

    def catch_up(self) -> None:
        """Takes over what is stored, and lets what calls hold count under its policies, whatever was done of that.

        For a start, which cannot know how far the process before it came, and for who finds out that others are ahead.

        Raises:
            Unavailable: the directory or the counters cannot be read or written; what was in force still is.
        """
        with self._changing:
            self._adopted = False
            self._put_in_force(self._store.load())

    def __call__(
        self, change: Edit, *, by: Authorship, verbs: Mapping[Action, str] = NO_VERBS
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
            self._put_in_force(after)
        return replaced, after

    def _put_in_force(self, directory: Directory) -> None:
        """What is stored. Where that fails, what was in force still is, until `refresh` tries again."""
        snapshot = self._live.snapshot_of(directory)
        if self._counters is None:
            self._live.take(snapshot)
            return
        if self._adopted and directory.policies == self._live.snapshot.directory.directory.policies:
            self._live.take(snapshot)
            return
        self._adopted = False
        try:
            self._counters.adopt(Adoption.of(snapshot), lambda: self._live.take(snapshot))
        except StoreUnreachable as error:
            # Whoever may call must not wait for the counters: without them nobody is let through under a limit.
            _log.warning("policies are in force, and what calls hold will follow when the counters are back: %s", error)
        else:
            self._adopted = True
