from __future__ import annotations

import pytest

from services.kernel.limit_kind import LimitKind
from services.quota.domain.counters.crossing import ThresholdRule, newly_passed
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.policy import Threshold

THRESHOLDS = (Threshold(5_000), Threshold(8_000), Threshold(10_000))


@pytest.mark.parametrize(
    ("settled", "told", "passed"),
    [
        (49, 0, []),
        (50, 0, [5_000]),
        (85, 0, [5_000, 8_000]),
        (85, 5_000, [8_000]),
        (85, 8_000, []),
        (300, 8_000, [10_000]),
        (300, 10_000, []),
    ],
)
def test_a_threshold_is_passed_when_it_is_reached_and_was_not_reported(
    settled: int, told: int, passed: list[int]
) -> None:
    found = newly_passed(settled, ThresholdRule(100, THRESHOLDS, "tokens per day"), told)

    assert [threshold.basis_points for threshold in found] == passed


def test_part_of_a_limit_is_compared_exactly() -> None:
    threshold_rule = ThresholdRule(3, (Threshold(6_667),), "requests per day")

    assert newly_passed(2, threshold_rule, 0) == ()
    assert newly_passed(3, threshold_rule, 0) == threshold_rule.thresholds


def test_a_limit_of_zero_has_no_parts_to_pass() -> None:
    assert newly_passed(5, ThresholdRule(0, THRESHOLDS, "tokens per day"), 0) == ()


def test_a_settlement_counts_for_each_kind_of_limit_what_it_took() -> None:
    settlement = Settlement("rsv", 7, 20, 300, 0, reported=True)

    assert {kind: settlement.actual(kind, 99) for kind in LimitKind} == {
        LimitKind.SPEND: 7,
        LimitKind.TOKENS: 320,
        LimitKind.INPUT_TOKENS: 20,
        LimitKind.OUTPUT_TOKENS: 300,
        LimitKind.REQUESTS: 1,
        LimitKind.CONCURRENCY: 0,
        LimitKind.REQUEST_COST: 0,
        LimitKind.BURN_RATE: 7,
    }
    assert Settlement("rsv", -1, 0, 0, 0, reported=False).actual(LimitKind.SPEND, 99) == 99
