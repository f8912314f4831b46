"""Reconciles counters with the ledger: reports their values, and sets them to what the ledger says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.kernel.scope import ScopeParts
from services.quota.domain.counters.adjustment import Adjusted, Adjustment
from services.quota.domain.counters.crossing import Crossing
from services.quota.domain.policies.counting import CountedLimit, counted_limits, preferred
from services.quota.ports.counters import Adjustments, Counters, CrossingLog, Recovery, Sum
from services.quota.usecases.live import Live
from services.quota.usecases.settle import MAX_BATCH, MAX_CROSSINGS


@dataclass(frozen=True, slots=True)
class CounterState:
    """Whether the counters are reliable, and which limits are in force."""

    ready: bool
    limits_version: str
    lost: tuple[str, ...] = ()
    """The ids of open reservations that the store lost with the counters and could put back."""


@dataclass(frozen=True, slots=True)
class LimitLevels:
    """The settled amounts in the counters of a limit, by scope."""

    limit: CountedLimit
    settled: dict[str, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """All limits that keep counters at a moment."""

    preferred: tuple[ScopeParts, ...]
    """The scope parts of the policies that make default policies step back; empty if there are no default policies."""
    limits: tuple[LimitLevels, ...]


@dataclass(frozen=True, slots=True)
class AdjustResult:
    """The result of adjustments."""

    adjusted: int
    crossings: tuple[Crossing, ...]


class Reconcile:
    """The operations on counters that the ledger needs."""

    def __init__(
        self,
        *,
        live: Live,
        counters: Counters,
        adjustments: Adjustments,
        crossings: CrossingLog,
        recovery: Recovery,
        clock: Clock,
    ) -> None:
        self._live = live
        self._counters = counters
        self._adjustments = adjustments
        self._crossings = crossings
        self._recovery = recovery
        self._clock = clock

    def state(self) -> CounterState:
        """Whether the counters are reliable, and which limits are in force."""
        return CounterState(
            self._recovery.is_ready(), self._live.snapshot.directory.version, tuple(self._recovery.lost())
        )

    def list_counters(self) -> Listing:
        """The limits that keep counters now, by policy, each with its counters.

        Raises:
            Unavailable: the counters cannot be read.
        """
        policies = self._live.snapshot.directory.directory.policies
        now_ms = self._clock.now_ms()
        found = {
            (limit.policy, limit.limit_id, limit.window.start_ms): LimitLevels(limit, {})
            for limit in counted_limits(policies, now_ms)
        }
        for key, _, level in self._counters.counters_at(now_ms):
            listed = found.get((key.policy, key.limit_id, key.window_start_ms))
            if listed is not None and listed.limit.has(key.scope):
                listed.settled[key.scope] = level.settled
        has_default = any(policy.default for policy in policies)
        return Listing(tuple(preferred(policies)) if has_default else (), tuple(found.values()))

    def adjust(self, adjustments: Sequence[Adjustment], crossings_after: int) -> AdjustResult:
        """Adjusts counters, and returns the crossings after a sequence number.

        Raises:
            InvalidInput: there are more than 1000 adjustments, or an amount is out of range.
            Unavailable: the store cannot be written; nothing was adjusted.
        """
        if len(adjustments) > MAX_BATCH:
            raise InvalidInput("adjustments", f"at most {MAX_BATCH} at a time")
        directory, now_ms = self._live.snapshot.directory, self._clock.now_ms()
        adjusted = self._adjustments.adjust(
            adjustments, lambda counter: directory.threshold_rule(counter, now_ms), now_ms
        )
        return AdjustResult(adjusted, tuple(self._crossings.crossings_after(crossings_after, MAX_CROSSINGS)))

    def restore(self, parts: Iterable[tuple[Sequence[Sum], Sequence[str]]]) -> None:
        """Sets all counters after a loss, and restores the holds of open reservations.

        Each part has sums, and the ids of reservations that ended before the loss.

        Raises:
            InvalidInput: a sum is out of range.
            Unavailable: the store cannot be written.
        """
        sums: list[Sum] = []
        ended: list[str] = []
        for some_sums, some_ended in parts:
            sums += some_sums
            ended += some_ended
        self._recovery.restore(sums, ended)

    def adjustments(self, before: int | None, page_size: int) -> list[Adjusted]:
        """Adjustments with sequence numbers below `before`, newest first."""
        return self._adjustments.adjustments_before(before, page_size)
