"""Moves the counters of a Redis to other policies while calls run.

A mark in Redis names the policies by which reservations are made; `reserve.lua` makes none by others. The first quota
process changes policies, and only it moves the mark:

1. Calls get holds under both the old and the new policies, while the old ones still admit calls.
2. The mark is removed. Calls admitted meanwhile get both holds, too, and counters of renamed policies get their new
   names. The other processes wait.
3. The new mark is set.
4. The holds under the old policies are removed.

A call that settles meanwhile counts under the policies in force; its other holds are only released.

A process that dies partway repeats everything after its restart, so each step may happen twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from services.kernel.errors import Unavailable
from services.quota.adapters.redis_counter_names import all_counters
from services.quota.adapters.redis_doubts import RedisDoubts
from services.quota.adapters.redis_keys import RedisKeys, after, by_id, name_of, reported_of
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.redis_reservations import RedisReservations
from services.quota.adapters.redis_wire import (
    ANY_GENERATION,
    Argument,
    Kept,
    Rewrite,
    chunks,
    held_in,
    rewrite_arguments,
    write_value,
)
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.directory.adoption import Adoption

_CHANGING = "changing"
_TRIES = 8
_LISTED_AT_ONCE = 500

Anew = Callable[[Reservation], Reservation]


class RedisAdoption:
    """The adoption by one quota process. Safe to use from any thread."""

    def __init__(self, link: RedisLink, keys: RedisKeys, doubts: RedisDoubts, *, moves_mark: bool) -> None:
        """`moves_mark`: this quota process changes policies."""
        self._link = link
        self._keys = keys
        self._open = RedisReservations(link, keys)
        self._doubts = doubts
        self._moves_mark = moves_mark
        self._adopting = threading.Lock()
        self._rewrite, self._rename = link.script("rewrite"), link.script("rename")
        self._last: Adoption | None = None
        self._counting: Adoption | None = None
        """The policies in force, while calls also hold under others."""

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """See `ports.PolicyAdoption.adopt`."""
        with self._adopting:
            self._counting, self._last = self._last, adoption
            if not self._moves_mark:
                self._counting = None
                switch()
                return
            try:
                self._prepare(adoption)
            finally:
                # Redis admits nobody by policies that the mark does not name, whatever this process has in force.
                switch()
            self._link.command("SET", self._keys.policies, adoption.directory.version, batch=True)
            self._rewrite_all(adoption.reheld, but=set())
            self._doubts.forget_old_names(adoption)
            # A settlement that was under way during the renaming may have counted under the old names.
            self._rename_counters(adoption)
            self._counting = None

    def reheld(self, reservations: Sequence[Reservation]) -> list[Reservation]:
        """The reservations with their holds under the last adopted policies, whichever policies admitted them."""
        last = self._last
        return list(reservations) if last is None else [last.reheld(each) for each in reservations]

    def counting(self, reservation: Reservation) -> Collection[CounterKey]:
        """The counters in which to count what a call took."""
        counting = self._counting
        holds = reservation.holds if counting is None else counting.reheld(reservation).holds
        return {hold.counter for hold in holds}

    def _prepare(self, adoption: Adoption) -> None:
        if self._link.command("GET", self._keys.policies, batch=True) == adoption.directory.version:
            return
        self._doubts.adopt(adoption)
        prepared = set[str]()
        # The second time, only those admitted during the first. Few are left for the time without a mark.
        for _ in range(2):
            self._rewrite_all(adoption.prepared, but=prepared)
        self._link.command("SET", self._keys.policies, _CHANGING, batch=True)
        self._rewrite_all(adoption.prepared, but=prepared)
        self._counting = adoption
        self._rename_counters(adoption)
        self._doubts.adopt_fresh(adoption)

    def _rewrite_all(self, anew: Anew, *, but: set[str]) -> None:
        """Rewrites the holds of all calls but these, and adds them to these."""
        name = ""
        while some := self._open.after(name, _LISTED_AT_ONCE):
            for names in chunks([each for each in some if each not in but]):
                self._rewrite_until_done(names, anew)
            but.update(some)
            name = some[-1]

    def _rewrite_until_done(self, names: Sequence[str], anew: Anew) -> None:
        for _ in range(_TRIES):
            names = self._rewrite_these(names, anew)
            if not names:
                return
        raise Unavailable("other processes keep changing the holds of calls")

    def _rewrite_these(self, names: Sequence[str], anew: Anew) -> list[str]:
        """Tries once. Returns the ids that somebody changed meanwhile; ended reservations need nothing."""
        changes: list[Rewrite] = []
        for name, (before, read) in self._open.read(names).items():
            now = anew(before)
            if now is not before:
                changes.append(Rewrite(name, by_id(name), read, write_value(now), held_in(before, now)))
        if not changes:
            return []
        arguments = rewrite_arguments(Kept.RESERVED, changes, ANY_GENERATION)
        _, *written = self._link.run(self._rewrite, self._keys.of_reservations, arguments, batch=True)
        return [change.reservation for change in changes if change.reservation not in set(written)]

    def _rename_counters(self, adoption: Adoption) -> None:
        if not adoption.renamed:
            return
        everything = all_counters(self._link, self._keys)
        renamed = [(counter, adoption.new_name_of(counter)) for counter in everything]
        for some in chunks([pair for pair in renamed if pair[0] != pair[1]]):
            arguments: list[Argument] = []
            for old, new in some:
                begins = reported_of(old)
                arguments += (name_of(old), name_of(new), f"[{begins}", after(begins), begins, reported_of(new))
            self._link.run(self._rename, self._keys.of_names, arguments, batch=True)
