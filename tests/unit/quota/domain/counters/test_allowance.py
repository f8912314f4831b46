from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.clock import ManualClock
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.admission.decision import fits
from services.quota.domain.admission.without_counters import without_counters
from services.quota.domain.counters.allowance import Allowance, Taken, allowances_of, day_at, level_of
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimits, Call, apply_limits
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from tests.worlds.quota import ADA, CENT, spend

NOW_MS = ManualClock().now_ms()


def allowing(name: str, cents: int, per: WindowUnit = WindowUnit.MONTH) -> QuotaPolicy:
    return replace(spend(name, 100, per), allowance_nano_usd=cents * CENT)


def applied(*policies: QuotaPolicy, run: str = "") -> AppliedLimits:
    return apply_limits(policies, Call(ADA, "dear", run), NOW_MS)


def test_a_call_needs_the_allowance_of_every_policy_and_has_none_when_one_allows_nothing() -> None:
    assert allowances_of([Allowance("a", 1), Allowance("b", 2)]) == (("a", 1), ("b", 2))
    assert allowances_of([Allowance("a", 1), Allowance("b", 0)]) == ()
    assert allowances_of([]) == ()


def test_only_enforced_policies_with_a_limit_on_the_call_count() -> None:
    find_rule = replace(spend("watching", 1), mode=Mode.SHADOW)
    per_run = spend("runs", 1, WindowUnit.RUN)
    assert applied(allowing("a", 5), find_rule, per_run).allowances == (("a", 5 * CENT),)
    assert applied(allowing("a", 5), per_run, run="r-1").allowances == ()
    assert applied(replace(allowing("a", 5), mode=Mode.SHADOW)).allowances == ()
    assert applied().allowances == ()


def test_a_share_is_rounded_down_and_all_shares_are_within_the_allowance() -> None:
    assert [Allowance("a", 10).share(quotas) for quotas in (1, 3, 11)] == [10, 3, 0]


def test_another_day_is_another_counter_whatever_the_windows_of_the_policy() -> None:
    allowance = Allowance("a", 1)
    today, tomorrow = day_at(NOW_MS), day_at(day_at(NOW_MS).end_ms)
    assert allowance.counter(today) != allowance.counter(tomorrow)
    assert (today.end_ms - today.start_ms, tomorrow.start_ms) == (86_400_000, today.end_ms)
    assert allowance.counter(day_at(today.end_ms - 1)) == allowance.counter(today)


@pytest.mark.parametrize(
    ("taken", "quotas", "left"),
    [
        (Taken(0, 0), 2, 50),
        (Taken(20, 70), 2, 30),
        # Two quotas took all there was; then there were four.
        (Taken(0, 100), 4, 0),
        (Taken(0, 90), 4, 10),
        # Four quotas took a quarter each; then there were two.
        (Taken(25, 100), 2, 0),
    ],
)
def test_what_other_quotas_took_above_their_share_is_missing_in_this_one(taken: Taken, quotas: int, left: int) -> None:
    share = Allowance("a", 100).share(quotas)
    level = level_of(taken, share, quotas)
    assert fits(*level, left, share)
    assert not fits(*level, left + 1, share)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(0, 60)), max_size=40), st.integers(0, 200))
def test_no_order_of_calls_and_numbers_of_quotas_takes_more_than_the_allowance(
    calls: list[tuple[int, int, int]], nano_usd: int
) -> None:
    taken: dict[int, int] = {}
    for quotas, number, asked in calls:
        here, share = number % quotas, Allowance("a", nano_usd).share(quotas)
        level = level_of(Taken(taken.get(here, 0), sum(taken.values())), share, quotas)
        if fits(*level, asked, share):
            taken[here] = taken.get(here, 0) + asked
    assert sum(taken.values()) <= nano_usd


def test_without_counters_a_call_is_judged_by_its_own_limits_on_empty_counters_and_by_the_allowances() -> None:
    limits = applied(allowing("a", 4), allowing("b", 6))
    spare = without_counters(limits, 2, NOW_MS)
    assert spare is not None
    assert spare.limits.limits[:2] == limits.limits
    assert [(limit.counter.policy, limit.kind, limit.bound) for limit in spare.limits.limits[2:]] == [
        ("a", LimitKind.SPEND, 2 * CENT),
        ("b", LimitKind.SPEND, 3 * CENT),
    ]
    assert spare.levels([Taken(1, 1), Taken(2, 2)]) == [Level(0, 0), Level(0, 0), Level(1, 0), Level(2, 0)]
    assert (spare.limits.needs_price, spare.limits.holds_tokens) == (True, True)


def test_without_counters_nothing_is_judged_where_a_policy_denies() -> None:
    assert without_counters(applied(allowing("a", 4), spend("b", 1)), 2, NOW_MS) is None
    assert without_counters(applied(), 2, NOW_MS) is None
