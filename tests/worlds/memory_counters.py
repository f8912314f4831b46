"""Counters and reservations in memory: for tests, and as the simplest example of what a store must do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from services.quota.adapters.counter_levels import CounterLevels
from services.quota.domain.counters.adjustment import MAX_KEPT, Adjusted, Adjustment, check_adjustments
from services.quota.domain.counters.counter import CounterKey, Level, check_sums
from services.quota.domain.counters.crossing import CounterUpdate, Crossing, FindThresholdRule, Reported
from services.quota.domain.counters.doubt import Doubt, Goes, all_of_it, doubt_of, without_doubt
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Move, Settlement, add_moves
from services.quota.domain.directory.adoption import Adoption
from services.quota.ports.counters import Choose, Counter, Settled, Sum, T


class MemoryCounters:
    """`ports.CounterStore`. Its contents do not outlive the process."""

    def __init__(self, levels: CounterLevels | None = None) -> None:
        self._lock = threading.RLock()
        self._levels = levels or CounterLevels()
        self._open: dict[str, Reservation] = {}
        self._doubts: dict[str, Doubt] = {}
        self._crossings: list[Crossing] = []
        self._adjusted: list[Adjusted] = []

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        """Reads the counters, lets `choose` decide, and reserves its result, all in one atomic step."""
        with self._lock:
            reservation, answer = choose(self._levels.of(counters))
            if reservation is not None:
                self._open[reservation.id] = reservation
                self._levels.hold(reservation.holds)
            return answer

    def settle(self, settlements: Sequence[Settlement], find_rule: FindThresholdRule, now_ms: int) -> Settled:
        """Settles reservations with what their calls took, and records newly passed thresholds."""
        settled: list[Reservation] = []
        already_ended: list[str] = []
        moves: dict[CounterKey, Move] = {}
        with self._lock:
            for settlement in settlements:
                reservation = self._open.pop(settlement.reservation, None)
                if reservation is None:
                    already_ended.append(settlement.reservation)
                    if settlement.most is None:
                        self.clear_doubts([settlement.reservation], all_of_it)
                    continue
                settled.append(reservation)
                counted = without_doubt(settlement) if reservation.id in self._doubts else settlement
                add_moves(moves, reservation, counted)
                if doubt := doubt_of(reservation, counted, now_ms):
                    self._doubts[reservation.id] = doubt
            self._levels.move(moves)
            for counter, move in moves.items():
                self._tell(counter, move, find_rule, now_ms)
        return Settled(tuple(settled), tuple(already_ended))

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        """Releases reservations without a charge. Returns how many were open."""
        with self._lock:
            ending = [
                reservation
                for reservation in self._open.values()
                if reservation.id in reservation_ids or reservation.request_id in request_ids
            ]
            for reservation in ending:
                del self._open[reservation.id]
                self._levels.free(reservation.holds)
            return len(ending)

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        """Clears the parts of these calls' doubts that `goes` selects, and returns them."""
        cleared: list[Doubt] = []
        with self._lock:
            for doubt in [self._doubts[name] for name in reservations if name in self._doubts]:
                gone, stays = doubt.split(goes)
                if gone is None:
                    continue
                cleared.append(gone)
                del self._doubts[doubt.reservation.id]
                if stays is not None:
                    self._doubts[doubt.reservation.id] = stays
            self._levels.clear(cleared)
        return cleared

    def adopt(self, adoption: Adoption, switch: Callable[[], None]) -> None:
        """Moves the holds and doubts of calls to other policies, and calls `switch`."""
        with self._lock:
            self._levels.rename(self._levels.sums_of(adoption.renamed), adoption.new_name_of)
            for name, before in self._open.items():
                self._open[name] = after = adoption.reheld(before)
                self._levels.free(before.holds)
                self._levels.hold(after.holds)
            for name, doubt in self._doubts.items():
                self._doubts[name] = more = adoption.redoubted(doubt)
                self._levels.clear([doubt])
                self._levels.doubt([more])
            self.clear_doubts(list(self._doubts), adoption.is_under_old_name)
            self._levels.drop_empty(adoption.renamed)
            self._crossings = [replace(each, counter=adoption.new_name_of(each.counter)) for each in self._crossings]
            switch()

    def forget(self, ended_before_ms: int) -> int:
        """Drops counters that hold nothing and that nobody has needed since this moment. Returns how many."""
        with self._lock:
            self.clear_doubts(
                list(self._doubts), lambda _, hold: self._levels.end_ms_of(hold.counter) <= ended_before_ms
            )
            gone = self._levels.idle(self._levels.ended(ended_before_ms), ended_before_ms)
            self._levels.drop(gone)
            return len(gone)

    def adjust(self, adjustments: Sequence[Adjustment], find_rule: FindThresholdRule, now_ms: int) -> int:
        """Adjusts counters that have the expected amount, keeps a record, and records passed thresholds."""
        check_adjustments(adjustments)
        moved = 0
        with self._lock:
            for adjustment in adjustments:
                counter, window_end_ms, before, after, _ = adjustment
                if self._levels.of([counter])[0].settled != before:
                    continue
                moved += 1
                sequence = self._adjusted[-1].sequence + 1 if self._adjusted else 1
                self._adjusted = [*self._adjusted, Adjusted(sequence, adjustment, now_ms)][-MAX_KEPT:]
                self._levels.move({counter: Move(window_end_ms, settled=after - before)})
                self._tell(counter, Move(window_end_ms), find_rule, now_ms)
        return moved

    def is_ready(self) -> bool:
        """Always true: memory loses nothing while the process lives."""
        return True

    def lost(self) -> list[str]:
        """Always empty: this store loses nothing."""
        return []

    def restore(self, sums: Sequence[Sum], ended: Collection[str] = ()) -> None:
        """Sets the settled amounts of these counters, and releases the reservations that `ended`."""
        check_sums(sums)
        with self._lock:
            self._levels.settle_at(sums)
        self.release(ended)

    def levels(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        return self._levels.of(counters)

    def counters_at(self, now_ms: int) -> Iterator[Counter]:
        """The counters whose windows contain this moment, in no particular order."""
        return (each for some in self._levels.at(now_ms) for each in some)

    def overdue(self, ended_epochs: Collection[str], created_before_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` open reservations of these epochs, or made before this moment, oldest first."""
        with self._lock:
            found = [
                reservation
                for reservation in self._open.values()
                if reservation.epoch in ended_epochs or reservation.created_at_ms < created_before_ms
            ]
        return sorted(found, key=lambda reservation: reservation.id)[:limit]

    def open_after(self, reservation_id: str, limit: int) -> list[str]:
        """The ids of at most `limit` open reservations after this id, oldest first."""
        with self._lock:
            return sorted(name for name in self._open if name > reservation_id)[:limit]

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        with self._lock:
            names = sorted(name for name in self._doubts if name > reservation_id)[:limit]
            return [self._doubts[name] for name in names]

    def crossings_after(self, sequence: int, limit: int) -> list[Crossing]:
        """At most `limit` crossings with a higher sequence number, ascending."""
        with self._lock:
            return [crossing for crossing in self._crossings if crossing.sequence > sequence][:limit]

    def adjustments_before(self, sequence: int | None, limit: int) -> list[Adjusted]:
        """At most `limit` of the last `MAX_KEPT` adjustments, those with lower sequence numbers, newest first."""
        with self._lock:
            older = [each for each in self._adjusted if sequence is None or each.sequence < sequence]
        return older[::-1][:limit]

    def open_count(self) -> int:
        """The number of open reservations."""
        with self._lock:
            return len(self._open)

    def _tell(self, counter: CounterKey, move: Move, find_rule: FindThresholdRule, now_ms: int) -> None:
        threshold_rule = find_rule(counter)
        if threshold_rule is None:
            return
        settled = sum(level.settled for level in self._levels.of((counter, *threshold_rule.trailing)))
        earlier = [
            crossing
            for crossing in self._crossings
            if crossing.counter[:3] == counter[:3]
            and threshold_rule.reported_since_ms <= crossing.counter.window_start_ms <= counter.window_start_ms
        ]
        reported = Reported(
            max((crossing.basis_points for crossing in earlier), default=0), {crossing.kind for crossing in earlier}
        )
        update = CounterUpdate(counter, settled, move, reported)
        for crossing in update.crossings(threshold_rule, now_ms):
            self._crossings.append(replace(crossing, sequence=len(self._crossings) + 1))
