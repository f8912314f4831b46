"""Computes what quota's counters must be from the entries, and where a counter differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import NOBODY, Dimension, ScopeIndex, ScopeParts, part_scope, scope_of
from services.kernel.settlement import AdjustmentReason
from services.kernel.window import WindowRule, WindowUnit

_RUN = WindowRule(WindowUnit.RUN)


class Span(NamedTuple):
    """The calls whose sums a limit's counters must hold."""

    start_ms: int
    """Admitted at this moment or later."""
    end_ms: int
    """Admitted before this moment."""
    each_run: bool
    """One sum per run. Leaves out calls without a run, and runs that ended long ago."""


@dataclass(frozen=True, slots=True)
class CountedLimit:
    """One of quota's limits in one window."""

    policy: str
    limit_id: str
    kind: LimitKind
    parts: ScopeParts
    """The parts of its scopes, in their order."""
    default: bool
    """Leaves out calls that a preferred policy applies to."""
    span: Span
    retain_until_ms: int
    """When its counters expire. Each run has its own expiry."""


@dataclass(frozen=True, slots=True)
class LimitLevels:
    """A limit with the settled amounts of its counters, by scope."""

    limit: CountedLimit
    settled: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CounterList:
    """All counters of the current windows."""

    preferred: tuple[ScopeParts, ...]
    """The scopes of preferred policies. Default policies step back for calls that match one."""
    limits: Iterator[LimitLevels]
    """They come while quota sends them."""


class Taken(NamedTuple):
    """The total that calls with the same properties took."""

    team: str
    project: str
    environment: str
    user: str
    key: str
    model: str
    run: str
    """Empty where runs are not separated."""
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    """Counts only calls of known cost."""
    unpriced_calls: int
    last_ms: int
    """When the last of them was admitted, rounded down to the hour."""


@dataclass(slots=True)
class Expected:
    """What the entries say about one counter."""

    amount: int = 0
    unpriced: bool = False
    """It counts spend and some of its calls have no known cost. Quota counted what they held."""
    last_ms: int = 0


class Counter(NamedTuple):
    """Names a counter."""

    policy: str
    limit_id: str
    scope: str
    window_start_ms: int
    retain_until_ms: int


class Sum(NamedTuple):
    """The value that a counter must be set to."""

    counter: Counter
    settled: int


class Adjustment(NamedTuple):
    """The current value of a counter and the value it must have."""

    counter: Counter
    before: int
    after: int
    reason: AdjustmentReason


class Matching:
    """Finds those of many scopes that a call belongs to."""

    def __init__(self, sets: Iterable[ScopeParts]) -> None:
        self._sets = list(sets)
        self._index = ScopeIndex(self._sets)

    def of(self, taken: Taken) -> Iterator[tuple[int, str]]:
        """Yields the position of each matching set of parts, and the scope that these calls count under."""
        has = {dimension: getattr(taken, dimension) for dimension in Dimension}
        for at in self._index.candidates(has):
            scope = scope_of(self._sets[at], has)
            if scope is not None:
                yield at, scope


def expected_counters(
    limits: Sequence[CountedLimit], preferred: Matching, taken: Iterable[Taken]
) -> list[dict[str, Expected]]:
    """Returns what the counters of these limits must be, by scope, in the order of the limits. They share one span."""
    matching = Matching(limit.parts for limit in limits)
    expected: list[dict[str, Expected]] = [{} for _ in limits]
    for each in taken:
        is_preferred = any(True for _ in preferred.of(each))
        for at, scope in matching.of(each):
            limit = limits[at]
            if limit.default and is_preferred:
                continue
            counted = part_scope(scope, "run", each.run) if limit.span.each_run else scope
            counter = expected[at].setdefault(counted, Expected())
            counter.amount += limit.kind.measure(each)
            counter.unpriced |= limit.kind.needs_price and each.unpriced_calls > 0
            counter.last_ms = max(counter.last_ms, each.last_ms)
    return expected


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing a limit's counters with the entries."""

    adjustments: tuple[Adjustment, ...]
    compared: int
    unpriced: int
    """Counters that were left alone."""
    drift_nano_usd: int
    """The largest deviation of spend without a known reason."""


def compare(levels: LimitLevels, expected: Mapping[str, Expected], reason: AdjustmentReason) -> Comparison:
    """Compares each counter. `reason` explains every difference."""
    limit = levels.limit
    adjustments: list[Adjustment] = []
    compared = unpriced = 0
    for scope in sorted(levels.settled.keys() | expected.keys()):
        must = expected.get(scope)
        if must is None and limit.span.each_run:
            # Its last call was long ago, yet quota still has it: a call was admitted and never left.
            continue
        must = must or Expected()
        if must.unpriced:
            unpriced += 1
            continue
        compared += 1
        says = levels.settled.get(scope, 0)
        if says != must.amount:
            adjustments.append(Adjustment(counter_of(limit, scope, must), says, must.amount, reason))
    counts_drift = reason is AdjustmentReason.DRIFT and limit.kind.needs_price
    drift = max((abs(each.after - each.before) for each in adjustments), default=0) if counts_drift else 0
    return Comparison(tuple(adjustments), compared, unpriced, drift)


def counter_of(limit: CountedLimit, scope: str, expected: Expected) -> Counter:
    """Names the counter of a scope."""
    until_ms = _RUN.at(expected.last_ms).retain_until_ms if limit.span.each_run else limit.retain_until_ms
    return Counter(limit.policy, limit.limit_id, scope, limit.span.start_ms, until_ms)


def name_of(limit: CountedLimit, preferred: Sequence[ScopeParts]) -> str:
    """Names a limit by what it counts, regardless of the window. A limit that counts other calls gets another name."""
    # Earlier releases did not count calls without a value. The placeholder in the name says that these are counted now.
    parts = [(dimension, value or f"any,{NOBODY}") for dimension, value in limit.parts]
    identity = [limit.policy, limit.limit_id, parts]
    if limit.default:
        identity.append(hashlib.sha256(json.dumps(sorted(preferred)).encode()).hexdigest()[:16])
    return json.dumps(identity)
