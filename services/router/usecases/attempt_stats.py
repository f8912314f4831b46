"""What the latest attempts at each target were like: for people, and in memory only.

Envoy's attempt log feeds it and may lose entries, so no sum that must be exact comes from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from services.kernel.clock import Clock
from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.sliding_counts import SlidingCounts

PERIOD_MS = 300_000
_MAX_TARGETS = 4_096
# A time is kept to one part in 32: the steps between two powers of two are equal.
_STEPS = 32
_STEP_BITS = 5
_P95 = 95


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """The attempts at one target that ended within the latest five minutes."""

    attempts: int = 0
    """Those that were served or failed."""
    failures: int = 0
    latency_p95_ms: int | None = None
    """To the end of the answer, of those that were served; None without any. At most 1/32 above the true value."""
    ttft_p95_ms: int | None = None
    """The same to the first byte."""


class _Count(IntEnum):
    SERVED = 0
    FAILED = 1


class _Target:
    """The sliding counts of one target."""

    __slots__ = ("durations", "first_bytes", "outcomes")

    def __init__(self) -> None:
        self.outcomes = SlidingCounts(PERIOD_MS)
        self.durations = SlidingCounts(PERIOD_MS)
        self.first_bytes = SlidingCounts(PERIOD_MS)


class AttemptStats:
    """Counts attempts by target."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._targets: dict[str, _Target] = {}

    def observe(self, attempt: Attempt) -> None:
        """Counts an attempt that was served or failed. Drops those at new targets beyond a bound."""
        if attempt.outcome not in {Outcome.SERVED, Outcome.FAILED}:
            return
        target = self._targets.get(attempt.target)
        if target is None:
            if len(self._targets) >= _MAX_TARGETS:
                return
            target = self._targets[attempt.target] = _Target()
        now_ms = self._clock.now_ms()
        served = attempt.outcome is Outcome.SERVED
        target.outcomes.add(_Count.SERVED if served else _Count.FAILED, now_ms)
        if served:
            target.durations.add(_step_of(attempt.took_ms), now_ms)
            target.first_bytes.add(_step_of(attempt.waited_ms), now_ms)

    def figures(self, target: str) -> TargetFigures:
        """Returns the figures of a target."""
        known, now_ms = self._targets.get(target), self._clock.now_ms()
        if known is None:
            return TargetFigures()
        outcomes = known.outcomes.totals(now_ms)
        failures = outcomes.get(_Count.FAILED, 0)
        return TargetFigures(
            attempts=outcomes.get(_Count.SERVED, 0) + failures,
            failures=failures,
            latency_p95_ms=_p95(known.durations.totals(now_ms)),
            ttft_p95_ms=_p95(known.first_bytes.totals(now_ms)),
        )


def _step_of(value_ms: int) -> int:
    """Returns the number of the step that holds a time: one for each millisecond up to 32, then 32 for each octave."""
    shift = max(0, value_ms.bit_length() - _STEP_BITS - 1)
    return (shift << _STEP_BITS) + (max(value_ms, 0) >> shift)


def _top_of(step: int) -> int:
    """Returns the largest time in a step."""
    if step < 2 * _STEPS:
        return step
    shift = (step >> _STEP_BITS) - 1
    return ((step - (shift << _STEP_BITS) + 1) << shift) - 1


def _p95(counts: Mapping[int, int]) -> int | None:
    """Returns the nearest-rank percentile."""
    total = sum(counts.values())
    rank = -(-total * _P95 // 100)
    reached = 0
    for step in sorted(counts):
        reached += counts[step]
        if reached >= rank:
            return _top_of(step)
    return None
