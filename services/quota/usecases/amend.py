"""Amend: the only way to change the directory. It stores the change with its audit entries, then puts it in force."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from services.kernel.change import NO_VERBS, Action, AuditAction, AuditEntry, Authorship, audit_entries
from services.kernel.clock import Clock
from services.kernel.errors import SpendgateError
from services.kernel.repetition import Answered
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.configuration import describe, differences
from services.quota.domain.directory.directory import Directory, without_expired
from services.quota.ports.counters import PolicyAdoption, StoreUnreachable
from services.quota.ports.directory import Contended, DirectoryStore
from services.quota.usecases.live import Live

_log = logging.getLogger("spendgate.quota")

# Another process rarely writes at the same time, and hardly ever each time.
_MOST_TRIES = 5

Edit = Callable[[Directory], Directory]
A = TypeVar("A")


class Answer(NamedTuple, Generic[A]):
    """How to answer a repetition of a request."""

    kind: type[A]
    """A dataclass, or text. It contains no secret."""
    of: Callable[[Directory, Directory], A]
    """Makes the answer from the directories before and after the change."""


@dataclass(frozen=True, slots=True)
class Amended(Generic[A]):
    """What a request did, now or when it came for the first time."""

    answer: A
    """The answer to the first request."""
    directory: Directory
    """The directory now."""
    first: Answered[A] | None
    """The first request, if this one repeats it and so changed nothing."""


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
            self._follow()

    def catch_up(self) -> None:
        """Takes over the stored directory, and moves the holds of calls to its policies, whatever happened before.

        A start needs this because it cannot know how far the previous process got. A process that finds others ahead
        needs it, too.

        Raises:
            Unavailable: the directory or the counters cannot be read or written; the old directory stays in force.
        """
        with self._changing:
            self._adopted = False
            self._put_in_force(self._store.load())

    def __call__(self, change: Edit, *, by: Authorship) -> None:
        """Makes a change that no client asked for.

        Raises:
            Unavailable: the store cannot be written; nothing was changed.
        """
        self.once(change, Answer(str, lambda _, __: ""), by=by)

    def once(
        self, change: Edit, answer: Answer[A], *, by: Authorship, verbs: Mapping[Action, AuditAction] = NO_VERBS
    ) -> Amended[A]:
        """Makes a change, unless this request repeats one that made it. `verbs`: see `audit_entries`.

        Raises:
            InvalidInput: another request had the same id.
            Unavailable: the store cannot be written; nothing was changed.
        """
        # The lock puts directories in force in the order in which the store gets them.
        with self._changing:
            for _ in range(_MOST_TRIES - 1):
                with contextlib.suppress(Contended):
                    return self._try(change, answer, by, verbs)
            return self._try(change, answer, by, verbs)

    def _try(self, change: Edit, answer: Answer[A], by: Authorship, verbs: Mapping[Action, AuditAction]) -> Amended[A]:
        if recalled := self._recalled(answer, by):
            return recalled
        try:
            return self._made(change, answer, by, verbs)
        except SpendgateError:
            # Another process may have made this change just now, so that a second one is refused.
            if recalled := self._recalled(answer, by):
                return recalled
            raise

    def _recalled(self, answer: Answer[A], by: Authorship) -> Amended[A] | None:
        """What an earlier request with this id did; None if there was none."""
        if by.repeatable is None:
            return None
        now_ms = self._clock.now_ms()
        first = self._store.recall(by.repeatable, answer.kind, now_ms)
        if first is None:
            return None
        self._follow()
        return Amended(first.answer, without_expired(self._store.load(), now_ms), first)

    def _made(self, change: Edit, answer: Answer[A], by: Authorship, verbs: Mapping[Action, AuditAction]) -> Amended[A]:
        now_ms = self._clock.now_ms()
        replaced = Directory()

        def recorded(stored: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
            nonlocal replaced
            # Overrides expire by the clock and without anybody's action, so there is no audit entry.
            replaced = before = without_expired(stored, now_ms)
            after = change(before)
            changes = differences(before, after)
            return after, audit_entries(
                changes, describe(before, after), describe(after, before), by=by, time_ms=now_ms, verbs=verbs
            )

        def answering(after: Directory) -> Answered[object] | None:
            return Answered(by.repeatable, answer.of(replaced, after), now_ms) if by.repeatable else None

        after = self._store.replace(recorded, answering)
        self._put_in_force(after)
        return Amended(answer.of(replaced, after), after, None)

    def _follow(self) -> None:
        newer = self._store.newer()
        if newer is not None:
            self._put_in_force(newer)
        elif not self._adopted:
            self._put_in_force(self._store.load())

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
