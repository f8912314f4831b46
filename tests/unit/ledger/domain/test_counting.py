from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension, ScopeParts
from services.kernel.settlement import AdjustmentReason
from services.ledger.domain.counting import (
    CountedLimit,
    Expected,
    LimitLevels,
    Matching,
    Span,
    Taken,
    compare,
    counter_of,
    expected_counters,
    name_of,
)

DAY_MS = 86_400_000
ADA = Taken("a", "p", "prod", "ada", "k1", "m", "", 2, 100, 10, 7, 0, 5)
EVE = ADA._replace(user="eve", calls=3, cost_nano_usd=9)
NOBODY = ADA._replace(user="", team="b")
LIMIT = CountedLimit("p", "spend/day/UTC", LimitKind.SPEND, (), False, Span(0, DAY_MS, False), DAY_MS)
NONE = Matching(())


def amounts(limit: CountedLimit, *taken: Taken, preferred: Matching = NONE) -> dict[str, int]:
    (expected,) = expected_counters([limit], preferred, taken)
    return {scope: each.amount for scope, each in expected.items()}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((), {"organization": 23}),
        (((Dimension.TEAM, "a"),), {"team=a": 16}),
        (((Dimension.TEAM, "a"), (Dimension.USER, "eve")), {"team=a,user=eve": 9}),
        (((Dimension.TEAM, "c"),), {}),
        # Calls without a value of the dimension count together.
        (((Dimension.USER, ""),), {"user=-": 7, "user=ada": 7, "user=eve": 9}),
        (((Dimension.ENVIRONMENT, "prod"), (Dimension.MODEL, "")), {"environment=prod,model=m": 23}),
    ],
)
def test_calls_are_counted_under_the_scope_that_quota_counts_them_under(
    parts: ScopeParts, told: dict[str, int]
) -> None:
    assert amounts(replace(LIMIT, parts=parts), ADA, EVE, NOBODY) == told


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        (LimitKind.SPEND, 7),
        (LimitKind.TOKENS, 110),
        (LimitKind.INPUT_TOKENS, 100),
        (LimitKind.OUTPUT_TOKENS, 10),
        (LimitKind.REQUESTS, 2),
    ],
)
def test_a_limit_counts_its_own_kind(kind: LimitKind, amount: int) -> None:
    assert amounts(replace(LIMIT, kind=kind), ADA) == {"organization": amount}


def test_a_default_limit_counts_no_call_that_a_preferred_policy_applies_to() -> None:
    default, preferred = (
        replace(LIMIT, default=True),
        Matching([((Dimension.USER, "eve"),), ((Dimension.TEAM, "b"), (Dimension.USER, ""))]),
    )

    assert amounts(default, ADA, EVE, NOBODY, preferred=preferred) == {"organization": 7}
    assert amounts(LIMIT, ADA, EVE, NOBODY, preferred=preferred) == {"organization": 23}


def test_each_run_has_a_counter_that_is_remembered_as_long_as_quota_remembers_it() -> None:
    limit = replace(LIMIT, parts=((Dimension.TEAM, "a"),), span=Span(0, DAY_MS, True))
    (expected,) = expected_counters([limit], NONE, [ADA._replace(run="x", last_ms=DAY_MS)])

    assert list(expected) == ["team=a,run=x"]
    assert counter_of(limit, "team=a,run=x", expected["team=a,run=x"]).retain_until_ms == 32 * DAY_MS


def test_only_what_differs_is_adjusted_also_counters_that_one_side_does_not_know() -> None:
    expected = {"same": Expected(5), "off": Expected(5), "new": Expected(1)}

    found = compare(LimitLevels(LIMIT, {"same": 5, "off": 9, "ghost": 3}), expected, AdjustmentReason.DRIFT)

    assert [(each.counter.scope, each.before, each.after) for each in found.adjustments] == [
        ("ghost", 3, 0),
        ("new", 0, 1),
        ("off", 9, 5),
    ]
    assert (found.compared, found.unpriced, found.drift_nano_usd) == (4, 0, 4)


def test_spend_is_left_alone_where_a_cost_is_unknown_and_tokens_are_not() -> None:
    unpriced = ADA._replace(unpriced_calls=1)
    for limit, compared in ((LIMIT, 0), (replace(LIMIT, kind=LimitKind.TOKENS), 1)):
        (expected,) = expected_counters([limit], NONE, [unpriced])

        found = compare(LimitLevels(limit, {"organization": 99}), expected, AdjustmentReason.DRIFT)

        assert (found.compared, found.unpriced, len(found.adjustments)) == (compared, 1 - compared, compared)


@pytest.mark.parametrize("reason", [AdjustmentReason.BACKFILL, AdjustmentReason.REBUILD])
def test_what_has_a_reason_is_no_drift(reason: AdjustmentReason) -> None:
    assert compare(LimitLevels(LIMIT, {}), {"organization": Expected(5)}, reason).drift_nano_usd == 0


def test_a_run_that_quota_remembers_longer_than_its_calls_is_left_alone() -> None:
    limit = replace(LIMIT, span=Span(0, DAY_MS, True))

    assert compare(LimitLevels(limit, {"run=x": 7}), {}, AdjustmentReason.DRIFT).adjustments == ()


def test_a_limit_that_counts_other_calls_is_another_limit() -> None:
    default = replace(LIMIT, default=True)
    others = [
        replace(LIMIT, policy="q"),
        replace(LIMIT, parts=((Dimension.TEAM, "a"),)),
        replace(LIMIT, limit_id="x"),
        default,
    ]
    names = {name_of(limit, []) for limit in [LIMIT, *others]}

    assert len(names) == 5
    assert name_of(default, [((Dimension.TEAM, "a"),)]) not in names
    assert name_of(LIMIT, [((Dimension.TEAM, "a"),)]) in names
    assert name_of(replace(LIMIT, span=Span(DAY_MS, 2 * DAY_MS, False)), []) in names
