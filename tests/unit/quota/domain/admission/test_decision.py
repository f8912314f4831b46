from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.decision import budget_used_basis_points, decide, deny_of
from services.quota.domain.admission.request_facts import Amounts
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.directory.applied_limits import AppliedLimit
from services.quota.domain.policies.denial import Denial

NOW_MS = 1_000_000
BUDGET = AppliedLimit(
    counter=CounterKey("budget", "tokens/day/UTC", "team=a", 0),
    kind=LimitKind.TOKENS,
    bound=100,
    window_end_ms=NOW_MS + 5_000,
    enforced=True,
    steers=True,
    is_rate=False,
)
RATE = BUDGET._replace(counter=CounterKey("rate", "tokens/minute", "team=a", 0), steers=False, is_rate=True)


def asked(tokens: int) -> Amounts:
    return Amounts(0, tokens, 0)


def reason(limit: AppliedLimit, settled: int, reserved: int, held: int) -> Denial | None:
    refusal = decide([limit], [Level(settled, reserved)], asked(held)).refusal
    return refusal.denial if refusal else None


@pytest.mark.parametrize(
    ("settled", "reserved", "held", "of_budget", "of_rate"),
    [
        (60, 30, 10, None, None),
        (100, 0, 0, None, None),
        (60, 31, 10, Denial.RESERVATION_CONTENTION, Denial.RATE_LIMITED),
        (0, 100, 100, Denial.RESERVATION_CONTENTION, Denial.RATE_LIMITED),
        (91, 0, 10, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.RATE_LIMITED),
        (91, 50, 10, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.RATE_LIMITED),
        (0, 0, 101, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (100, 0, 1, Denial.BUDGET_EXHAUSTED, Denial.RATE_LIMITED),
        (130, 40, 1, Denial.BUDGET_EXHAUSTED, Denial.RATE_LIMITED),
        (100, 0, 101, Denial.BUDGET_EXHAUSTED, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
    ],
)
def test_the_reason_is_that_of_the_table(
    settled: int, reserved: int, held: int, of_budget: Denial | None, of_rate: Denial | None
) -> None:
    assert reason(BUDGET, settled, reserved, held) is of_budget
    assert reason(RATE, settled, reserved, held) is of_rate


def test_a_lasting_reason_is_reported_before_a_passing_one() -> None:
    contended, exhausted = BUDGET, BUDGET._replace(counter=BUDGET.counter._replace(policy="other"))

    refusal = decide([contended, RATE, exhausted], [Level(0, 100), Level(100, 0), Level(100, 0)], asked(1)).refusal

    assert refusal is not None
    assert (refusal.denial, refusal.limit.counter.policy) == (Denial.BUDGET_EXHAUSTED, "other")


def test_of_equal_reasons_the_one_that_lasts_longest_is_reported() -> None:
    later = BUDGET._replace(window_end_ms=BUDGET.window_end_ms + 1)

    refusal = decide([BUDGET, later, BUDGET], [Level(100, 0)] * 3, asked(1)).refusal

    assert refusal is not None
    assert refusal.limit is later


def test_a_refusal_carries_every_figure_of_its_limit() -> None:
    refusal = decide([BUDGET], [Level(91, 5)], asked(10)).refusal
    assert refusal is not None

    deny = deny_of(refusal, expected=asked(10), key="ci", model="tiny", now_ms=NOW_MS, contention_wait_ms=250)

    assert (deny.key, deny.model, deny.policy, deny.scope) == ("ci", "tiny", "budget", "team=a")
    assert (deny.limit_kind, deny.limit, deny.used, deny.reserved, deny.requested) == (LimitKind.TOKENS, 100, 91, 5, 10)
    assert (deny.window_start_ms, deny.resets_at_ms, deny.retry_after_ms) == (0, NOW_MS + 5_000, None)


@pytest.mark.parametrize(
    ("settled", "doubt", "held", "typical", "reason"),
    [
        (0, 0, 400, 40, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (0, 0, 400, 100, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (0, 0, 400, 101, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (99, 0, 400, 101, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (60, 0, 400, 40, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET),
        (61, 0, 400, 40, Denial.BUDGET_EXHAUSTED),
        (1, 60, 400, 40, Denial.BUDGET_EXHAUSTED),
    ],
)
def test_a_rest_that_such_calls_usually_exceed_is_none_unless_the_limit_could_never_take_one(
    settled: int, doubt: int, held: int, typical: int, reason: Denial
) -> None:
    refusal = decide([BUDGET], [Level(settled, 0, doubt)], asked(held)).refusal
    assert refusal is not None

    deny = deny_of(refusal, expected=asked(typical), key="ci", model="tiny", now_ms=NOW_MS, contention_wait_ms=250)

    assert deny.denial is reason


@pytest.mark.parametrize(
    ("limit", "level", "wait_ms", "retry_after_ms"),
    [
        (BUDGET, Level(0, 100), 250, 250),
        (BUDGET, Level(0, 100), 60_000, 5_000),
        (RATE, Level(0, 100), 250, 250),
        (RATE, Level(100, 0), 250, 5_000),
        (RATE._replace(kind=LimitKind.REQUESTS), Level(0, 100), 250, 5_000),
    ],
)
def test_the_wait_ends_when_room_can_be_back_at_the_latest_with_the_window(
    limit: AppliedLimit, level: Level, wait_ms: int, retry_after_ms: int
) -> None:
    refusal = decide([limit], [level], asked(1)).refusal
    assert refusal is not None

    deny = deny_of(refusal, expected=asked(10), key="ci", model="tiny", now_ms=NOW_MS, contention_wait_ms=wait_ms)

    assert deny.denial.transient
    assert deny.retry_after_ms == retry_after_ms


def test_the_budget_that_steers_is_the_tightest_settled_one_of_a_day_or_longer() -> None:
    wide = BUDGET._replace(bound=1_000)
    watched = BUDGET._replace(enforced=False, steers=False)

    assert budget_used_basis_points([wide, BUDGET, RATE], [Level(990, 0), Level(75, 20), Level(99, 0)]) == 9_900
    assert budget_used_basis_points([BUDGET, watched], [Level(75, 99), Level(100, 0)]) == 7_500
    assert budget_used_basis_points([RATE], [Level(100, 0)]) == 0
    assert budget_used_basis_points([BUDGET._replace(bound=0)], [Level(0, 0)]) == 10_000


def test_every_denial_has_a_place_of_its_own_in_the_precedence() -> None:
    assert [denial.precedence for denial in Denial] == list(range(len(Denial)))
    assert {denial for denial in Denial if denial.transient} == {
        Denial.POLICY_UNAVAILABLE,
        Denial.UPSTREAM_UNAVAILABLE,
        Denial.BURN_RATE,
        Denial.RATE_LIMITED,
        Denial.RESERVATION_CONTENTION,
    }


def test_the_same_comparison_judges_every_kind() -> None:
    amounts = Amounts(cost_nano_usd=1, input_tokens=2, output_tokens=3)
    for kind, amount in ((kind, amounts.of(kind)) for kind in LimitKind if kind is not LimitKind.BURN_RATE):
        limit = BUDGET._replace(kind=kind, bound=amount)
        assert decide([limit], [Level(0, 0)], amounts).refusal is None
        assert decide([limit], [Level(0, 1)], amounts).refusal is not None
        assert decide([limit], [Level(0, 0)], replace(amounts, **grown(kind))).refusal is not None  # type: ignore[arg-type]  # counts only


def grown(kind: LimitKind) -> dict[str, int]:
    return {
        LimitKind.SPEND: {"cost_nano_usd": 2},
        LimitKind.TOKENS: {"input_tokens": 3},
        LimitKind.INPUT_TOKENS: {"input_tokens": 3},
        LimitKind.OUTPUT_TOKENS: {"output_tokens": 4},
        LimitKind.REQUESTS: {"calls": 2},
        LimitKind.CONCURRENCY: {"calls": 2},
        LimitKind.REQUEST_COST: {"cost_nano_usd": 2},
    }[kind]
