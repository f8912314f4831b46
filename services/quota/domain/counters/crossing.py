"""What people are told of a counter: thresholds, overruns and calls without a price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.settlement import Move
from services.quota.domain.policies.policy import Threshold


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """What to look for in a counter while it settles."""

    bound: int
    thresholds: tuple[Threshold, ...]
    limit: str
    """For people: "spend per month"."""
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to it, in a window that rolls."""
    reported_since_ms: int = 0
    """What was told of a window that began then or later was told of this one."""
    enforced: bool = True

    @property
    def everybody(self) -> tuple[str, ...]:
        """Names of all alert channels of the thresholds."""
        return tuple(dict.fromkeys(name for threshold in self.thresholds for name in threshold.notify))


FindThresholdRule = Callable[[CounterKey], ThresholdRule | None]
"""Tells what to look for in a counter; None: nothing."""


class CrossingKind(StrEnum):
    """What happened to a counter."""

    THRESHOLD = "threshold"
    """It passed a threshold."""
    OVERRUN = "overrun"
    """A call took more than it held in an enforced limit: a provider billed more than it was allowed."""
    UNPRICED = "unpriced"
    """A call whose cost is unknown went through an enforced limit on spend."""
    UNKNOWN_MEMBERS = "unknown_members"
    """A call with members that nobody here knows went through an enforced limit on spend."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What somebody is to be told of a counter. A threshold is passed once, of the other kinds the first is told."""

    sequence: int
    """Ascending, never reused."""
    counter: CounterKey
    limit: str
    """ "spend per month" and the like."""
    basis_points: int
    """Of the threshold; 0 for the other kinds."""
    notify: tuple[str, ...]
    crossed_at_ms: int
    settled: int
    bound: int
    kind: CrossingKind = CrossingKind.THRESHOLD
    excess: int = 0
    """By how much an overrun was above what was held, in the unit of the limit."""
    reservation: str = ""
    """Id of the call that brought it about, or of one of several that did. Empty: no call did."""


def least_reaching(bound: int, basis_points: int) -> int:
    """The smallest amount that is this part of a bound, or more."""
    return -(-bound * basis_points // 10_000)


def newly_passed(settled: int, threshold_rule: ThresholdRule, highest_reported: int) -> tuple[Threshold, ...]:
    """Thresholds that `settled` has reached and that lie above the highest one told of this counter, in basis points.

    It compares with what was told, not with what was settled a moment ago: a limit that is lowered below what is
    already used is told at the next settlement, and a threshold added below what was told is not told late.
    """
    return tuple(
        threshold
        for threshold in threshold_rule.thresholds
        if threshold.basis_points > highest_reported
        and threshold_rule.bound
        and settled >= least_reaching(threshold_rule.bound, threshold.basis_points)
    )


@dataclass(frozen=True, slots=True)
class CounterUpdate:
    """What a batch of settlements did to a counter, and what of it was told before."""

    counter: CounterKey
    settled: int
    move: Move
    highest_reported: int
    """Basis points of the highest threshold that was told."""
    overrun_reported: bool
    unpriced_reported: bool
    unknown_told: bool

    def crossings(self, threshold_rule: ThresholdRule, now_ms: int) -> tuple[Crossing, ...]:
        """What is to be told, with sequence numbers yet to be given."""
        overrun = Crossing(
            sequence=0,
            counter=self.counter,
            limit=threshold_rule.limit,
            basis_points=0,
            notify=threshold_rule.everybody,
            crossed_at_ms=now_ms,
            settled=self.settled,
            bound=threshold_rule.bound,
            kind=CrossingKind.OVERRUN,
            excess=self.move.excess,
            reservation=self.move.last,
        )
        unpriced = replace(overrun, kind=CrossingKind.UNPRICED, excess=0, reservation=self.move.unpriced)
        unknown = replace(unpriced, kind=CrossingKind.UNKNOWN_MEMBERS, reservation=self.move.unknown)
        passed = tuple(
            replace(
                overrun,
                basis_points=threshold.basis_points,
                notify=threshold.notify,
                kind=CrossingKind.THRESHOLD,
                excess=0,
            )
            for threshold in newly_passed(self.settled, threshold_rule, self.highest_reported)
        )
        overran = self.move.excess > 0 and threshold_rule.enforced and not self.overrun_reported
        lacked_price = bool(self.move.unpriced) and threshold_rule.enforced and not self.unpriced_reported
        was_unknown = bool(self.move.unknown) and threshold_rule.enforced and not self.unknown_told
        return (*passed, *(overrun,) * overran, *(unpriced,) * lacked_price, *(unknown,) * was_unknown)
