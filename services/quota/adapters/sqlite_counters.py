"""Counters and reservations in SQLite, exact under any concurrency and safe against kill -9.

Only this process moves counters, so it keeps their levels in memory. The file has what is needed to rebuild them: the
settled sums, the open reservations with their holds, and the doubts. A reservation is then one INSERT, which is its own
transaction, and a refusal writes nothing. Memory changes after the commit and before the next decision.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence

from services.quota.adapters.counter_levels import CounterLevels
from services.quota.adapters.sqlite_adjustments import adjustments_before, keep_adjustments
from services.quota.adapters.sqlite_crossings import crossings_after, note_crossings, rename_crossings
from services.quota.adapters.sqlite_doubts import (
    all_doubts,
    doubts_after,
    doubts_ending,
    doubts_named,
    drop_doubts,
    put_doubts,
)
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_open_reservations import OpenReservations
from services.quota.adapters.sqlite_reservations import (
    INSERT,
    all_reservations,
    count_reservations,
    reservation_row,
    reservations_after,
    reservations_of,
    reservations_overdue,
    rewrite_reservations,
)
from services.quota.adapters.sqlite_settling import settle_slice
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
_COUNTERS_OF = (
    "SELECT limit_id, scope, window_start_ms, window_end_ms, settled FROM counters WHERE policy = ? AND settled"
)
_DROP_COUNTERS = "DELETE FROM counters WHERE policy = ?"
_ALL_COUNTERS = "SELECT policy, limit_id, scope, window_start_ms, window_end_ms, settled FROM counters"
# The most settlements in one step, during which quota admits no call: about a millisecond's worth.
_SLICE = 32
# A thread that releases a lock and takes it again at once is faster than all waiting threads, so it must really pause.
_TURN_S = 0.001
# The most counters or doubts in one step, during which quota admits no call.
_CHUNK = 200
# The most doubts to forget at once: about a minute's worth.
_FORGOTTEN_AT_ONCE = 20_000
_FORGET = "DELETE FROM counters WHERE policy = ? AND limit_id = ? AND scope = ? AND window_start_ms = ?"


def counts_anything(file: SqliteFile) -> bool:
    """Whether this file ever had counters."""
    with file.reading() as connection:
        return connection.execute("SELECT 1 FROM counters UNION SELECT 1 FROM reservations").fetchone() is not None


class SqliteCounters:
    """`ports.CounterStore` over one file, which no other process writes."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._deciding = threading.Lock()
        self._others_turn = threading.Event()
        """Never set."""
        self._open = OpenReservations()
        self._levels = CounterLevels()
        self._fresh_doubts = set[str]()
        """The doubts left since an adoption began, while it lasts."""
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
                self._file.write(INSERT, reservation_row(reservation))
                self._open.note(reservation)
                self._levels.hold(reservation.holds)
        return answer

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Settles reservations with what their calls took, and records newly passed thresholds.

        Between two slices of a long batch, waiting calls get their decisions.
        """
        settled: list[Reservation] = []
        already_ended: list[str] = []
        for at in range(0, len(settlements), _SLICE):
            if at:
                self._others_turn.wait(_TURN_S)
            with self._deciding:
                some = self._settle_slice(settlements[at : at + _SLICE], find_rule, now_ms)
            settled += some.settled
            already_ended += some.already_ended
        known_after_all = {settlement.reservation for settlement in settlements if settlement.most is None}
        self.clear_doubts([name for name in already_ended if name in known_after_all], all_of_it)
        return Settled(tuple(settled), tuple(already_ended))

    def _settle_slice(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        with self._file.writing() as connection:
            done, moves, doubts = settle_slice(connection, self._open, settlements, find_rule, now_ms)
            self._fresh_doubts.update(doubt.reservation.id for doubt in doubts)
        self._open.forget(reservation.id for reservation in done.settled)
        self._levels.move(moves)
        return done

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        names = list(reservation_ids)
        if request_ids:
            with self._file.reading() as connection:
                names += reservations_of(connection, request_ids)
        with self._deciding:
            with self._file.writing() as connection:
                released = self._open.end(connection, names)
            self._open.forget(released)
            self._levels.free(hold for reservation in released.values() for hold in reservation.holds)
        return len(released)

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        if not reservations:
            return []
        with self._deciding:
            with self._file.writing() as connection:
                parts = [doubt.split(goes) for doubt in doubts_named(connection, reservations)]
                cleared = [gone for gone, _ in parts if gone is not None]
                drop_doubts(connection, [gone.reservation.id for gone in cleared])
                put_doubts(connection, [stays for gone, stays in parts if gone is not None and stays is not None])
            self._levels.clear(cleared)
        return cleared

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Moves the holds and doubts of calls to other policies, and calls `switch`."""
        with self._deciding:
            self._fresh_doubts = set()
        # There may be very many doubts, and nobody looks at counters of policies that are not in force yet.
        for names in self._all_doubts():
            with self._deciding:
                self._redoubt(names, adoption)
        with self._deciding:
            with self._file.writing() as connection:
                _rename(connection, adoption)
                held = [(each, adoption.reheld(each)) for each in all_reservations(connection)]
                changed = [(before, after) for before, after in held if after is not before]
                rewrite_reservations(connection, [after for _, after in changed])
            self._open.forget_all()
            self._levels.rename(adoption.new_name_of)
            self._levels.free(hold for before, _ in changed for hold in before.holds)
            self._levels.hold(hold for _, after in changed for hold in after.holds)
            self._redoubt(list(self._fresh_doubts), adoption)
            switch()
        if adoption.renamed:
            for names in self._all_doubts():
                self.clear_doubts(names, adoption.is_under_old_name)
            self._levels.drop_empty(adoption.renamed)

    def _redoubt(self, names: Sequence[str], adoption: Adoption) -> None:
        """Extends the doubts of these calls to the limits that apply to them now. Nobody may decide meanwhile."""
        if not names:
            return
        with self._file.writing() as connection:
            doubts = [(each, adoption.redoubted(each)) for each in doubts_named(connection, names)]
            changed = [(before, after) for before, after in doubts if after is not before]
            put_doubts(connection, [after for _, after in changed])
        self._levels.clear(before for before, _ in changed)
        self._levels.doubt(after for _, after in changed)

    def _all_doubts(self) -> Iterator[list[str]]:
        """The ids of calls with doubt, in parts."""
        name = ""
        while some := self.doubts_after(name, _CHUNK):
            yield [doubt.reservation.id for doubt in some]
            name = some[-1].reservation.id

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and that nobody has needed since this moment. Returns how many."""
        with self._file.reading() as connection:
            ending = doubts_ending(connection, ended_before_ms, _FORGOTTEN_AT_ONCE)
        for at in range(0, len(ending), _CHUNK):
            some = ending[at : at + _CHUNK]
            self.clear_doubts(some, lambda _, hold: self._levels.end_ms_of(hold.counter) <= ended_before_ms)
            # A run that continues counts for longer, so we note later ends and need not look at its doubt before.
            with self._file.writing() as connection:
                put_doubts(
                    connection, [doubt.until(self._levels.end_ms_of) for doubt in doubts_named(connection, some)]
                )
        with self._deciding:
            gone = self._levels.idle(ended_before_ms)
            with self._file.writing() as connection:
                connection.executemany(_FORGET, gone)
            self._levels.drop(gone)
        return len(gone)

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Adjusts counters that have the expected amount, keeps a record, and records passed thresholds."""
        check_adjustments(adjustments)
        with self._deciding:
            levels = self._levels.of([adjustment.counter for adjustment in adjustments])
            due: dict[CounterKey, Adjustment] = {}
            for adjustment, level in zip(adjustments, levels, strict=True):
                if level.settled == adjustment.before:
                    due.setdefault(adjustment.counter, adjustment)
            with self._file.writing() as connection:
                for counter, window_end_ms, _, after, _ in due.values():
                    connection.execute(_SET, (*counter, window_end_ms, after))
                    if rule := find_rule(counter):
                        note_crossings(connection, counter, (after, Move(window_end_ms)), rule, now_ms)
                keep_adjustments(connection, due.values(), now_ms)
            self._levels.move(
                {each.counter: Move(each.window_end_ms, settled=each.after - each.before) for each in due.values()}
            )
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
        with self._deciding:
            with self._file.writing() as connection:
                connection.executemany(_SET, [(*key, end_ms, settled) for key, end_ms, settled in sums])
            self._levels.settle_at(sums)
        self.release(ended)

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        return self._levels.of(counters)

    def counters_at(self, now_ms: int) -> list[Counter]:
        """The counters whose windows contain this moment, by key."""
        return self._levels.at(now_ms)

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
        with self._file.reading() as connection:
            return doubts_after(connection, reservation_id, limit)

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


def _rename(connection: sqlite3.Connection, adoption: Adoption) -> None:
    """Moves settled amounts and crossings to the new names of policies."""
    for old, new in adoption.renamed.items():
        counters = connection.execute(_COUNTERS_OF, (old,)).fetchall()
        connection.executemany(_SET, [(new, *counter) for counter in counters])
        connection.execute(_DROP_COUNTERS, (old,))
        rename_crossings(connection, old, new)
