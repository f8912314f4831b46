"""Reconciles quota's counters with the entries: a counter's settled amount must equal the sum of its window's entries.

`services.ledger.usecases.sweep` releases what is still held for settled calls.

Reconciling runs on the settling thread, right after everything booked is settled. Nothing else moves settled amounts,
so a difference is real and not work in flight.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.kernel.clock import Clock
from services.kernel.settlement import AdjustmentReason
from services.ledger.domain.counting import (
    Adjustment,
    Comparison,
    CounterList,
    Expected,
    LimitLevels,
    Matching,
    Span,
    Sum,
    compare,
    counter_of,
    expected_counters,
    name_of,
)
from services.ledger.ports import Outbox, QuotaCounters, SettledSums
from services.ledger.usecases.sweep import Sweep

_log = logging.getLogger("spendgate.ledger.reconcile")

ASK_INTERVAL_MS = 1_000
"""How often to ask quota whether its counters were lost or its policies changed."""
_BATCH = 128
COUNTERS_AT_ONCE = 50_000
"""The most counters to compare together, if no limit has more: 15 MB. Each part reads the entries once for each span.
"""


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """The findings of a comparison."""

    checked_ms: int = 0
    """0: none has run yet."""
    counters: int = 0
    drift_nano_usd: int = 0
    """The largest deviation of a counter's spend from its entries without a known reason."""
    unpriced: int = 0
    """Counters of spend that were left alone because some of their calls have no known cost."""
    repaired: int = 0
    """Counters moved since this process started."""


class Reconcile:
    """Rebuilds, compares and repairs counters."""

    def __init__(
        self,
        *,
        counters: QuotaCounters,
        sums: SettledSums,
        outbox: Outbox,
        sweep: Sweep,
        clock: Clock,
        interval_ms: int,
    ) -> None:
        self._counters = counters
        self._sums = sums
        self._outbox = outbox
        self._sweep = sweep
        self._clock = clock
        self._interval_ms = interval_ms
        self._asked_ms = 0
        self._ready = False
        self._limits_version = ""
        self._checked_version = ""
        self._rebuilt = False
        self._last = ReconcileReport()

    @property
    def last(self) -> ReconcileReport:
        """The latest comparison."""
        return self._last

    def rebuild_if_lost(self) -> None:
        """Restores all counters if quota lost them; quota ends no reservation before. Asks at most once a second.

        Raises:
            Unavailable: quota does not answer.
        """
        now_ms = self._clock.now_ms()
        if now_ms - self._asked_ms < ASK_INTERVAL_MS:
            return
        state = self._counters.state()
        self._asked_ms = now_ms
        self._limits_version = state.limits_version
        self._ready = state.ready
        if state.ready:
            return
        _log.warning("quota lost its counters; they are rebuilt from the entries")
        self._rebuilt = True
        # Quota had ended these, and its answer was lost. They would not turn up again.
        self._outbox.mark_settled(self._outbox.unsettled_but(state.held), [], now_ms)
        sums = [
            Sum(counter_of(levels.limit, scope, each), each.amount)
            for levels, expected in self._expected(self._counters.list_counters())
            for scope, each in expected.items()
        ]
        self._counters.restore(sums, ended=self._outbox.settled_of(state.held))

    def check_if_due(self) -> None:
        """Compares all counters with the entries, repairs them, and releases what is held for settled calls.

        It runs at each interval, when policies change, and after a rebuild once quota says its counters are ready.

        Raises:
            Unavailable: quota does not answer.
        """
        if not self._ready:
            return
        is_early = self._clock.now_ms() < self._last.checked_ms + self._interval_ms
        if is_early and self._checked_version == self._limits_version and not self._rebuilt:
            return
        version = self._limits_version
        self._check()
        self._checked_version = version

    def _check(self) -> None:
        known, checked = self._sums.checked_limits(), set[str]()
        listing = self._counters.list_counters()
        found: list[Comparison] = []
        for levels, expected in self._expected(listing):
            name = name_of(levels.limit, listing.preferred)
            checked.add(name)
            found.append(compare(levels, expected, self._reason(is_new=name not in known)))
        repaired = self._repair([adjustment for each in found for adjustment in each.adjustments])
        if checked != known:
            self._sums.set_checked_limits(checked)
        # Only now are all settled calls in the counters, so this does not give their room away twice.
        self._sweep.release_all()
        self._rebuilt = False
        self._last = ReconcileReport(
            checked_ms=self._clock.now_ms(),
            counters=sum(each.compared for each in found),
            drift_nano_usd=max((each.drift_nano_usd for each in found), default=0),
            unpriced=sum(each.unpriced for each in found),
            repaired=self._last.repaired + repaired,
        )

    def _expected(self, listing: CounterList) -> Iterator[tuple[LimitLevels, dict[str, Expected]]]:
        """Yields each limit with the expected values of its counters, while they come."""
        preferred = Matching(listing.preferred)
        for some in _parts_of(listing.limits):
            yield from self._expected_of(some, preferred)

    def _expected_of(
        self, limits: Iterable[LimitLevels], preferred: Matching
    ) -> Iterator[tuple[LimitLevels, dict[str, Expected]]]:
        """Does so for some limits. Reads the entries once for each span."""
        by_span: dict[Span, list[LimitLevels]] = {}
        for levels in limits:
            by_span.setdefault(levels.limit.span, []).append(levels)
        for span, group in by_span.items():
            with self._sums.taken(span) as taken:
                expected = expected_counters([levels.limit for levels in group], preferred, taken)
            yield from zip(group, expected, strict=True)

    def _reason(self, *, is_new: bool) -> AdjustmentReason:
        if self._rebuilt:
            return AdjustmentReason.REBUILD
        return AdjustmentReason.BACKFILL if is_new else AdjustmentReason.DRIFT

    def _repair(self, adjustments: Sequence[Adjustment]) -> int:
        """Moves counters and logs that. Returns their number."""
        moved = 0
        for at in range(0, len(adjustments), _BATCH):
            some, crossings = self._counters.adjust(adjustments[at : at + _BATCH], self._outbox.last_crossing())
            self._outbox.mark_settled([], crossings, self._clock.now_ms())
            moved += some
        for reason in AdjustmentReason:
            if count := sum(adjustment.reason is reason for adjustment in adjustments):
                level = logging.WARNING if reason is AdjustmentReason.DRIFT else logging.INFO
                _log.log(level, "%d counters were not what the entries say (%s); they are now", count, reason)
        return moved


def _parts_of(limits: Iterable[LimitLevels]) -> Iterator[list[LimitLevels]]:
    """Splits limits into parts of at most `COUNTERS_AT_ONCE` counters. A limit with more is a part of its own."""
    some: list[LimitLevels] = []
    count = 0
    for levels in limits:
        if some and count + len(levels.settled) > COUNTERS_AT_ONCE:
            yield some
            some, count = [], 0
        some.append(levels)
        count += len(levels.settled)
    if some:
        yield some
