"""Counters and reservations in SQLite, exact under any concurrency and safe against kill -9.

Only this process moves counters, so it keeps their levels in memory. The file has what is needed to rebuild them: the
settled sums, the open reservations with their holds, and the doubts. A reservation is then one INSERT, which is its own
transaction, and a refusal writes nothing. Memory changes after the commit and before the next decision.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import attrgetter

from services.quota.adapters.slices import ROWS_AT_ONCE, in_chunks
from services.quota.adapters.sqlite_adjustments import adjustments_before, keep_adjustments
from services.quota.adapters.sqlite_adoption import SqliteAdoption
from services.quota.adapters.sqlite_crossings import crossings_after
from services.quota.adapters.sqlite_doubts import all_doubts
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_held_doubts import SqliteHeldDoubts
from services.quota.adapters.sqlite_open_reservations import Found, OpenReservations
from services.quota.adapters.sqlite_reservations import (
    INSERT,
    all_reservations,
    count_reservations,
    reservation_row,
    reservations_after,
    reservations_of,
    reservations_overdue,
)
from services.quota.adapters.sqlite_settling import Rules, report, settle_slice
from services.quota.adapters.sqlite_state import Lock, SqliteState
from services.quota.domain.counters.adjustment import Adjusted, Adjustment, check_adjustments
from services.quota.domain.counters.counter import CounterKey, Level, check_sums
from services.quota.domain.counters.crossing import Crossing, FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, Goes, all_of_it
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Move, Settlement
from services.quota.domain.directory.adoption import Adoption
from services.quota.ports.counters import Choose, Counter, Settled, Sum, T

_SET = (
    "INSERT INTO counters (policy, limit_id, scope, window_start_ms, window_end_ms, settled)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET settled = excluded.settled,"
    " window_end_ms = max(window_end_ms, excluded.window_end_ms)"
)
_ALL_COUNTERS = "SELECT policy, limit_id, scope, window_start_ms, window_end_ms, settled FROM counters"
_FORGET = "DELETE FROM counters WHERE policy = ? AND limit_id = ? AND scope = ? AND window_start_ms = ?"
# An adjustment touches the counter, its record and its crossings.
_ADJUSTED_AT_ONCE = ROWS_AT_ONCE // 4


def counts_anything(file: SqliteFile) -> bool:
    """Whether this file ever had counters."""
    with file.reading() as connection:
        return connection.execute("SELECT 1 FROM counters UNION SELECT 1 FROM reservations").fetchone() is not None


class SqliteCounters:
    """`ports.CounterStore` over one file, which no other process writes.

    Whatever moves many counters does it in slices, and lets waiting calls get their decisions in between.
    """

    def __init__(self, file: SqliteFile, deciding: Lock | None = None) -> None:
        """`deciding`: the lock of decisions, if somebody watches it."""
        self._file = file
        self._open = OpenReservations(file)
        self._state = SqliteState(file, self._open, deciding or threading.Lock())
        self._deciding, self._levels, self._turns = self._state.deciding, self._state.levels, self._state.turns
        self._doubts = SqliteHeldDoubts(self._state)
        self._adoption = SqliteAdoption(self._state, self._doubts)
        with file.reading() as connection:
            for row in connection.execute(_ALL_COUNTERS):
                self._levels.move({CounterKey(*row[:4]): Move(row[4], settled=row[5])})
            for reservation in all_reservations(connection):
                self._levels.hold(reservation.holds)
            self._levels.doubt(all_doubts(connection))

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Reads the counters, lets `choose` decide, and reserves its result, all in one atomic step."""
        with self._deciding:
            reservation, answer = choose(self._levels.of(counters))
            if reservation is not None:
                reservation = self._adoption.admitted(reservation)
                self._file.write(INSERT, reservation_row(reservation))
                self._open.note(reservation)
                self._levels.hold(reservation.holds)
        return answer

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Settles reservations with what their calls took, and records newly passed thresholds."""
        settled: list[Reservation] = []
        already_ended: list[str] = []
        # A call that nobody measured leaves doubt in the counters as well.
        slices = self._open.slices(settlements, attrgetter("reservation"), lambda each: 1 if each.most is None else 3)
        for some, found in self._turns.between(slices):
            with self._deciding:
                done = self._settle_slice(some, found, Rules(find_rule, now_ms))
            settled += done.settled
            already_ended += done.already_ended
        known_after_all = {settlement.reservation for settlement in settlements if settlement.most is None}
        self.clear_doubts([name for name in already_ended if name in known_after_all], all_of_it)
        return Settled(tuple(settled), tuple(already_ended))

    def _settle_slice(self, settlements: Sequence[Settlement], found: Found, rules: Rules) -> Settled:
        with self._file.writing() as connection:
            ended = self._open.end(connection, [settlement.reservation for settlement in settlements], found)
            done, moves, beside = settle_slice(connection, ended, settlements, self._adoption, rules.now_ms)
            report(connection, moves, self._levels, rules)
        self._open.forget(reservation.id for reservation in done.settled)
        self._levels.move(moves)
        self._levels.move(beside)
        return done

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        names = list(reservation_ids)
        if request_ids:
            with self._file.reading() as connection:
                names += reservations_of(connection, request_ids)
        count = 0
        for some, found in self._turns.between(self._open.slices(names, str)):
            with self._deciding:
                with self._file.writing() as connection:
                    released = self._open.end(connection, some, found)
                self._open.forget(released)
                self._levels.free(hold for reservation in released.values() for hold in reservation.holds)
            count += len(released)
        return count

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        return self._doubts.clear(reservations, goes)

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Moves the holds and doubts of calls to other policies, and calls `switch`."""
        self._adoption.adopt(adoption, switch)

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and that nobody has needed since this moment. Returns how many."""
        self._doubts.forget(ended_before_ms)
        count = 0
        for some in self._turns.between(in_chunks(self._levels.ended(ended_before_ms), ROWS_AT_ONCE)):
            with self._deciding:
                gone = self._levels.idle(some, ended_before_ms)
                with self._file.writing() as connection:
                    connection.executemany(_FORGET, gone)
                self._levels.drop(gone)
            count += len(gone)
        return count

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Adjusts counters that have the expected amount, keeps a record, and records passed thresholds."""
        check_adjustments(adjustments)
        count = 0
        for some in self._turns.between(in_chunks(adjustments, _ADJUSTED_AT_ONCE)):
            with self._deciding:
                count += self._adjust(some, Rules(find_rule, now_ms))
        return count

    def _adjust(self, adjustments: Sequence[Adjustment], rules: Rules) -> int:
        levels = self._levels.of([adjustment.counter for adjustment in adjustments])
        due: dict[CounterKey, Adjustment] = {}
        for adjustment, level in zip(adjustments, levels, strict=True):
            if level.settled == adjustment.before:
                due.setdefault(adjustment.counter, adjustment)
        moves = {key: Move(each.window_end_ms, settled=each.after - each.before) for key, each in due.items()}
        with self._file.writing() as connection:
            connection.executemany(_SET, [(*key, each.window_end_ms, each.after) for key, each in due.items()])
            report(connection, moves, self._levels, rules)
            keep_adjustments(connection, due.values(), rules.now_ms)
        self._levels.move(moves)
        return len(due)

    def is_ready(self) -> bool:
        """Always true: the file is complete."""
        return True

    def lost(self) -> list[str]:
        """Always empty: this store loses nothing."""
        return []

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets the settled amounts of these counters, and releases the reservations that `ended`."""
        check_sums(sums)
        for some in self._turns.between(in_chunks(sums, ROWS_AT_ONCE)):
            with self._deciding:
                with self._file.writing() as connection:
                    connection.executemany(_SET, [(*key, end_ms, settled) for key, end_ms, settled in some])
                self._levels.settle_at(some)
        self.release(ended)

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        return self._levels.of(counters)

    def counters_at(self, now_ms: int) -> Iterator[Counter]:
        """The counters whose windows contain this moment, in no particular order."""
        return (each for some in self._turns.between(self._levels.at(now_ms)) for each in some)

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` open reservations of these epochs, or made before this moment, oldest first."""
        with self._file.reading() as connection:
            return reservations_overdue(connection, ended_epochs, created_before_ms, limit)

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """The ids of at most `limit` open reservations after this id, oldest first."""
        with self._file.reading() as connection:
            return reservations_after(connection, reservation_id, limit)

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        return self._doubts.after(reservation_id, limit)

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        with self._file.reading() as connection:
            return crossings_after(connection, sequence, limit)

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` of the last `MAX_KEPT` adjustments, those with lower sequence numbers, newest first."""
        with self._file.reading() as connection:
            return adjustments_before(connection, sequence, limit)

    def open_count(self) -> int:
        """The number of open reservations."""
        with self._file.reading() as connection:
            return count_reservations(connection)
