"""Crossings: the events of a counter that we report to people: thresholds, overruns and calls without a price."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

from services.kernel.settlement import CrossingKind
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.settlement import Move
from services.quota.domain.policies.policy import Threshold


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """What to look for in a counter when calls settle."""

    bound: int
    thresholds: tuple[Threshold, ...]
    limit: str
    """The limit's name for people, e.g. "spend per month"."""
    trailing: tuple[CounterKey, ...] = ()
    """In a rolling window, the counters of its other parts."""
    reported_since_ms: int = 0
    """A report about a window that began then or later also counts as a report about this one."""
    enforced: bool = True

    @property
    def everybody(self) -> tuple[str, ...]:
        """The names of all alert channels of the thresholds."""
        return tuple(dict.fromkeys(name for threshold in self.thresholds for name in threshold.notify))


FindThresholdRule = Callable[[CounterKey], ThresholdRule | None]
"""Returns what to look for in a counter; None: nothing."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """An event of a counter to report. We report each threshold once and each other kind once per counter."""

    sequence: int
    """Ascending, never reused."""
    counter: CounterKey
    limit: str
    """The limit's name for people, e.g. "spend per month"."""
    basis_points: int
    """The threshold's part of the limit; 0 for the other kinds."""
    notify: tuple[str, ...]
    crossed_at_ms: int
    settled: int
    bound: int
    kind: CrossingKind = CrossingKind.THRESHOLD
    excess: int = 0
    """The amount by which an overrun exceeded the hold, in the unit of the limit."""
    reservation: str = ""
    """The id of the call that caused the event, or of one of several. Empty: no call caused it."""


def least_reaching(bound: int, basis_points: int) -> int:
    """The smallest amount that is this part of a bound, or more."""
    return -(-bound * basis_points // 10_000)


def newly_passed(settled: int, threshold_rule: ThresholdRule, highest_reported: int) -> tuple[Threshold, ...]:
    """The thresholds that `settled` has reached above the highest one already reported, in basis points.

    It compares with what was reported, not with the settled amount of a moment ago. So the next settlement reports a
    limit that was lowered below its use. A threshold that somebody adds below the highest reported one is not reported
    late.
    """
    return tuple(
        threshold
        for threshold in threshold_rule.thresholds
        if threshold.basis_points > highest_reported
        and threshold_rule.bound
        and settled >= least_reaching(threshold_rule.bound, threshold.basis_points)
    )


class Reported(NamedTuple):
    """What had been reported of a counter before."""

    highest_basis_points: int = 0
    """The basis points of the highest threshold that was reported."""
    kinds: Collection[CrossingKind] = ()
    """The kinds that were reported; each one is reported once."""


@dataclass(frozen=True, slots=True)
class CounterUpdate:
    """What a batch of settlements did to a counter, and what had been reported of it before."""

    counter: CounterKey
    settled: int
    move: Move
    reported: Reported

    def crossings(self, threshold_rule: ThresholdRule, now_ms: int) -> tuple[Crossing, ...]:
        """The events to report, with sequence numbers still to be assigned."""
        move = self.move
        blank = Crossing(
            sequence=0,
            counter=self.counter,
            limit=threshold_rule.limit,
            basis_points=0,
            notify=threshold_rule.everybody,
            crossed_at_ms=now_ms,
            settled=self.settled,
            bound=threshold_rule.bound,
            reservation=move.last,
        )
        passed = tuple(
            replace(blank, basis_points=threshold.basis_points, notify=threshold.notify)
            for threshold in newly_passed(self.settled, threshold_rule, self.reported.highest_basis_points)
        )
        if not threshold_rule.enforced:
            return passed
        once = (
            replace(blank, kind=CrossingKind.OVERRUN, excess=move.excess, reservation=move.last if move.excess else ""),
            replace(blank, kind=CrossingKind.UNPRICED, reservation=move.unpriced),
            replace(blank, kind=CrossingKind.UNKNOWN_MEMBERS, reservation=move.unknown),
        )
        return (*passed, *(each for each in once if each.reservation and each.kind not in self.reported.kinds))
