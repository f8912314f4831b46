"""Counters and reservations in Redis, exact for any number of quota processes that share it.

Redis returns the levels, Python decides, and one script makes the holds if every counter still has room for them under
the bound of the decision. If not, Python decides again. `docs/adr/0010-counters-in-redis.md` says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence

from services.chassis.settings import SettingsError
from services.kernel.errors import Unavailable
from services.quota.adapters.redis_adoption import RedisAdoption
from services.quota.adapters.redis_counter_names import all_counters
from services.quota.adapters.redis_doubts import RedisDoubts
from services.quota.adapters.redis_held import LOST, RedisHeld
from services.quota.adapters.redis_keys import RedisKeys, fields_of
from services.quota.adapters.redis_link import RedisLink, Unanswered
from services.quota.adapters.redis_recovery import RedisRecovery
from services.quota.adapters.redis_reservations import RedisReservations
from services.quota.adapters.redis_session import LocalRecords, RedisSession
from services.quota.adapters.redis_wire import (
    Ending,
    adjusted_of,
    chunks,
    crossing_of,
    forget_arguments,
    levels_of,
    reserve_arguments,
)
from services.quota.adapters.slices import ROWS_AT_ONCE, in_chunks
from services.quota.domain.counters.adjustment import Adjusted, Adjustment, check_adjustments
from services.quota.domain.counters.counter import CounterKey, Level, check_sums
from services.quota.domain.counters.crossing import Crossing, FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, Goes, all_of_it
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory.adoption import Adoption
from services.quota.ports.counters import Choose, Counter, PoliciesChanged, Settled, StoreUnreachable, Sum, T

# Each failed try means that another call got the room. After this many we treat the counters as full.
_TRIES = 8
# The most released requests that we remember: far more than can be under way.
_GONE_MOST = 20_000
# The most old counters to drop at once: about a minute's worth.
_FORGOTTEN_AT_ONCE = 20_000
# How long a decision waits for a change of policies before it tries again.
_CHANGE_WAIT_S = 0.02


class RedisCounters:
    """`ports.CounterStore` over one Redis, which other quota processes may share."""

    def __init__(self, url: str, tag: str, local: LocalRecords, *, is_first: bool = True) -> None:
        """Connects now if it can, and keeps reconnecting until `close`.

        Args:
            url: The URL of the Redis.
            tag: The name of this gateway among those that share the Redis.
            local: The records that a loss of Redis does not reach.
            is_first: This quota process changes policies.

        Raises:
            SettingsError: the URL is not that of a Redis, or it names a Redis that never answered.
        """
        self._link = RedisLink(url)
        self._keys = keys = RedisKeys.tagged(tag)
        self._journal = local.journal
        self._session = RedisSession(self._link, keys, local.journal)
        self._open = RedisReservations(self._link, keys)
        self._doubts = RedisDoubts(self._link, keys, local.doubts)
        self._adoption = RedisAdoption(self._link, keys, self._doubts, moves_mark=is_first)
        self._held = RedisHeld(self._session, self._adoption, self._doubts, local.put_back)
        self._reserve, self._drop = map(self._link.script, ("reserve", "forget"))
        self._recovery = RedisRecovery(self._session, local.notes, self._held, fresh=local.fresh)
        self._recovery.start()
        if not (self._link.is_up or self._recovery.knows_counters):
            self.close()
            raise SettingsError(f"SPENDGATE_COUNTERS names a Redis that cannot be used: {self._link.problem}")

    def close(self) -> None:
        """Closes the connections. Reservations stay."""
        self._recovery.stop()
        self._link.close()
        self._journal.close()

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Lets `choose` decide on the levels, and reserves its result if the counters still have room."""
        reservation: Reservation | None = None
        for _ in range(_TRIES):
            reservation, answer = choose(self.levels(counters))
            if reservation is None or self._hold(reservation):
                return answer
        reservation, answer = choose(
            _as_full(counters, self.levels(counters), reservation.holds if reservation else ())
        )
        if reservation is None or self._hold(reservation):
            return answer
        raise Unavailable("too many calls at once ask for the same counters")

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Settles reservations with what their calls took, and records newly passed thresholds."""
        # If a reservation occurs twice, the first settlement counts.
        first = {settlement.reservation: settlement for settlement in reversed(settlements)}

        def ending_of(found: Reservation, read: str) -> Ending:
            return Ending.settled((found, read), first[found.id], now_ms, self._adoption.counting(found))

        ended = self._held.end([*reversed(first)], ending_of, find_rule, now_ms)
        settled: list[Reservation] = []
        already_ended: list[str] = []
        for settlement in settlements:
            reservation = ended.pop(settlement.reservation, None)
            if reservation is None:
                already_ended.append(settlement.reservation)
            else:
                settled.append(reservation)
        known_after_all = {settlement.reservation for settlement in settlements if settlement.most is None}
        self.clear_doubts([name for name in already_ended if name in known_after_all], all_of_it)
        return Settled(tuple(settled), tuple(already_ended))

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        try:
            names = set(reservation_ids)
            if request_ids:
                self._mark_gone(request_ids)
            for request_id in request_ids:
                names.update(self._open.of_request(request_id))
            return self._held.release(names)
        except Unavailable:
            self._session.mark_uncertain(reservation_ids)
            raise

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Moves the holds and doubts of calls to other policies, and calls `switch`."""
        self._adoption.adopt(adoption, switch)

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        return self._doubts.clear(reservations, goes, self._session.generation)

    def _mark_gone(self, request_ids: Collection[str]) -> None:
        """Marks requests as gone, before a look-up: Redis refuses later holds for them, and we find earlier ones."""
        keys = self._keys
        number = self._link.command("INCR", keys.sequence, batch=True)
        for some in in_chunks(list(request_ids), ROWS_AT_ONCE):
            members = [part for request_id in some for part in (number, request_id)]
            self._link.command("ZADD", keys.gone, *members, batch=True)
        self._link.command("ZREMRANGEBYRANK", keys.gone, 0, -_GONE_MOST - 1, batch=True)

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and that nobody has needed since this moment. Returns how many."""
        self._doubts.forget(ended_before_ms, self._session.generation)
        dropped = kept = 0
        while dropped + kept < _FORGOTTEN_AT_ONCE:
            bounds = ("-inf", ended_before_ms, "LIMIT", kept, ROWS_AT_ONCE)
            names = self._link.command("ZRANGEBYSCORE", self._keys.windows, *bounds, batch=True)
            if not names:
                break
            gone = sum(
                self._link.run(self._drop, self._keys.of_names, forget_arguments(some, ended_before_ms), batch=True)
                for some in chunks(names)
            )
            dropped += gone
            kept += len(names) - gone
        return dropped

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Adjusts counters that have the expected amount, keeps a record, and records passed thresholds."""
        check_adjustments(adjustments)
        return sum(self._held.run_end([], some, find_rule, now_ms)[0] for some in chunks(adjustments))

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` of the last adjustments, with lower sequence numbers, newest first."""
        highest = "+inf" if sequence is None else f"({sequence}"
        bounds = (highest, "-inf", "LIMIT", 0, limit)
        found = self._link.command("ZREVRANGEBYSCORE", self._keys.adjusted, *bounds, batch=True)
        return [adjusted_of(each) for each in found]

    def is_ready(self) -> bool:
        """Whether the counters are reliable. False: the store lost them, and they wait for `restore`."""
        return self._recovery.is_ready()

    def lost(self) -> list[str]:
        """The ids of lost open reservations, whose holds `restore` would put back."""
        if self.is_ready():
            return []
        self._held.write_down_kept()
        return [reservation.id for reservation in self._journal.of_all_quotas()]

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets settled amounts, restores lost holds, and releases the reservations that `ended`."""
        check_sums(sums)
        self._recovery.restore(sums, ended)
        self._held.release(ended)

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        if not counters:
            return []
        return levels_of(self._link.command("HMGET", self._keys.counters, *fields_of(counters)))

    def counters_at(self, now_ms: int) -> Iterator[Counter]:
        """The counters whose windows contain this moment, in no particular order."""
        ends_ms = all_counters(self._link, self._keys)
        present = [key for key, end_ms in ends_ms.items() if key.window_start_ms <= now_ms < end_ms]
        for some in in_chunks(present, ROWS_AT_ONCE):
            levels = levels_of(self._link.command("HMGET", self._keys.counters, *fields_of(some), batch=True))
            for key, level in zip(some, levels, strict=True):
                yield Counter(key, ends_ms[key], level)

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` open reservations of these epochs, or made before this moment, oldest first."""
        return self._open.overdue(ended_epochs, created_before_ms, limit)

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """The ids of at most `limit` open reservations after this id, oldest first."""
        return self._open.after(reservation_id, limit)

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        return self._doubts.after(reservation_id, limit)

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        bounds = (f"({sequence}", "+inf", "LIMIT", 0, limit)
        rows = self._link.command("ZRANGEBYSCORE", self._keys.crossings, *bounds, batch=True)
        return [crossing_of(each) for each in rows]

    def open_count(self) -> int:
        """The number of open reservations."""
        return self._open.count()

    def _hold(self, reservation: Reservation) -> bool:
        """Reserves, and returns whether there still was room."""
        arguments = reserve_arguments(reservation, reservation.holds, self._session.generation)
        self._journal.add(reservation)
        try:
            answer = self._link.run(self._reserve, self._keys.of_reserve, arguments)
        except Unanswered:
            self._session.mark_uncertain([reservation.id])
            raise
        except Unavailable:
            self._journal.drop([reservation.id])
            raise
        if answer == "held":
            self._journal.confirm([reservation.id])
            return True
        if answer == "lost":
            # The process that restores the counters may just have read it in the journal.
            self._session.mark_uncertain([reservation.id])
            raise StoreUnreachable(LOST)
        self._journal.drop([reservation.id])
        if answer == "changed":
            # Another process is changing the policies, or has changed them before this one noticed.
            time.sleep(_CHANGE_WAIT_S)
            raise PoliciesChanged
        if answer == "gone":
            raise Unavailable("the request was released before a decision")
        return False


def _as_full(counters: Sequence[CounterKey], levels: Sequence[Level], holds: Sequence[Hold]) -> list[Level]:
    """The levels, changed so that calls in flight fill every counter that has a bound."""
    ceilings = {hold.counter: hold.ceiling for hold in holds if hold.ceiling is not None}
    return [
        level._replace(reserved=max(level.reserved, ceilings.get(counter, 0) - level.settled - level.doubt))
        for counter, level in zip(counters, levels, strict=True)
    ]
