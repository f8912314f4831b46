"""Moves what calls hold in the counters' file to other policies, while calls run.

It may be very many calls, and no decision waits for all of them. Each step is short:

1. Calls get holds under both the old and the new policies, a few calls at a time. Calls admitted meanwhile get both
   holds at once, and doubt that they leave is for both. The old policies still decide.
2. Counters of renamed policies get their new names, and the new policies decide from then on.
3. The holds under the old policies are removed, a few calls at a time.

A call that settles meanwhile counts under the policies that decide; its other holds are only released.

A process that dies partway repeats everything after its restart, so each step may happen twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence

from services.quota.adapters.slices import RECORDS_AT_ONCE, in_slices
from services.quota.adapters.sqlite_crossings import rename_crossings
from services.quota.adapters.sqlite_held_doubts import SqliteHeldDoubts
from services.quota.adapters.sqlite_reservations import reservations_after, rewrite_reservations
from services.quota.adapters.sqlite_state import SqliteState
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.directory.adoption import Adoption
from services.quota.ports.counters import Sum

_COUNTERS_OF = (
    "SELECT limit_id, scope, window_start_ms, window_end_ms, settled FROM counters WHERE policy = ? AND settled"
)
_MOVE = (
    "INSERT INTO counters (policy, limit_id, scope, window_start_ms, window_end_ms, settled)"
    " SELECT ?, limit_id, scope, window_start_ms, window_end_ms, settled FROM counters WHERE policy = ? AND settled"
    " ON CONFLICT DO UPDATE SET settled = excluded.settled,"
    " window_end_ms = max(window_end_ms, excluded.window_end_ms)"
)
_DROP_COUNTERS = "DELETE FROM counters WHERE policy = ?"

Change = tuple[Reservation, Reservation]
"""A reservation before and after it is rewritten."""


class SqliteAdoption:
    """The adoption of policies. `adopt` is safe to call from any thread; the others need the lock of decisions."""

    def __init__(self, state: SqliteState, doubts: SqliteHeldDoubts) -> None:
        self._state = state
        self._doubts = doubts
        self._adopting = threading.Lock()
        self._coming: Adoption | None = None
        """The policies that are about to decide."""
        self._deciding: Adoption | None = None
        """The policies that decide. None until the first adoption."""
        self._is_mixed = False
        """Whether calls may hold room under policies that do not decide."""
        self._has_admitted = False

    def admitted(self, reservation: Reservation) -> Reservation:
        """A new reservation, with its holds under policies that are about to decide."""
        self._has_admitted = True
        return reservation if self._coming is None else self._coming.prepared(reservation)

    def counting(self, reservation: Reservation) -> Reservation:
        """The reservation with only those holds in whose counters its call counts."""
        return self._deciding.reheld(reservation) if self._is_mixed and self._deciding is not None else reservation

    def left(self, doubt: Doubt) -> Doubt:
        """New doubt, extended to policies that are about to decide."""
        return doubt if self._coming is None else self._coming.redoubted(doubt)

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """See `ports.PolicyAdoption.adopt`."""
        state = self._state
        with self._adopting:
            self._prepare(adoption)
            with state.deciding:
                self._rename(adoption)
                switch()
                self._coming, self._deciding = None, adoption
            self._rewrite_all(adoption.reheld)
            with state.deciding:
                self._is_mixed = False
            if adoption.renamed:
                self._doubts.forget_old_names(adoption)
                state.levels.drop_empty(adoption.renamed)

    def _prepare(self, adoption: Adoption) -> None:
        """Lets calls hold room, and leave doubt, under these policies too."""
        with self._state.deciding:
            self._coming, self._is_mixed = adoption, True
            is_start = not self._has_admitted
        try:
            self._doubts.extend(adoption)
            # At a start nobody decides yet, and calls wait for the first decision: one rewriting is enough.
            if not is_start:
                self._rewrite_all(adoption.prepared)
        except BaseException:
            with self._state.deciding:
                self._coming = None
            raise

    def _rename(self, adoption: Adoption) -> None:
        """Moves settled amounts and crossings to the new names of policies. No decision is made meanwhile."""
        if not adoption.renamed:
            return
        sums: list[Sum] = []
        with self._state.file.writing() as connection:
            for old, new in adoption.renamed.items():
                sums += _sums_of(connection, old)
                connection.execute(_MOVE, (new, old))
                connection.execute(_DROP_COUNTERS, (old,))
                rename_crossings(connection, old, new)
        self._state.levels.rename(sums, adoption.new_name_of)

    def _rewrite_all(self, anew: Callable[[Reservation], Reservation]) -> None:
        """Rewrites the holds of all calls."""
        for some in self._state.turns.between(self._changes(anew)):
            with self._state.deciding:
                self._rewrite(some)

    def _changes(self, anew: Callable[[Reservation], Reservation]) -> Iterator[list[Change]]:
        """What to rewrite, in slices."""
        for names in self._reservations():
            found = self._state.open.find(names).by_id
            changes = [(before, after) for before in found.values() if (after := anew(before)) is not before]
            yield from in_slices(changes, _rows_of)

    def _rewrite(self, changes: Sequence[Change]) -> None:
        state = self._state
        with state.file.writing() as connection:
            still_open = state.open.still_open(connection, [before.id for before, _ in changes])
            changes = [change for change in changes if change[0].id in still_open]
            rewrite_reservations(connection, [after for _, after in changes])
        state.open.replace([after for _, after in changes])
        state.levels.free(hold for before, after in changes for hold in _only_in(before, after))
        state.levels.hold(hold for before, after in changes for hold in _only_in(after, before))

    def _reservations(self) -> Iterator[list[str]]:
        """The ids of open reservations, in parts."""
        name = ""
        while some := self._after(name):
            yield some
            name = some[-1]

    def _after(self, name: str) -> list[str]:
        with self._state.file.reading() as connection:
            return reservations_after(connection, name, RECORDS_AT_ONCE)


def _sums_of(connection: sqlite3.Connection, policy: str) -> list[Sum]:
    return [
        Sum(CounterKey(policy, limit_id, scope, window_start_ms), window_end_ms, settled)
        for limit_id, scope, window_start_ms, window_end_ms, settled in connection.execute(_COUNTERS_OF, (policy,))
    ]


def _only_in(reservation: Reservation, other: Reservation) -> list[Hold]:
    """The holds of a reservation that the other one lacks."""
    return [hold for hold in reservation.holds if hold not in other.holds]


def _rows_of(change: Change) -> int:
    """How many rows a change touches: the record, and the counters that it moves."""
    before, after = change
    return 1 + len(_only_in(before, after)) + len(_only_in(after, before))
