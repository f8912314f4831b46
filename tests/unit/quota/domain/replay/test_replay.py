"""Histories made by hand, with every number known beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.kernel.endpoint import Operation
from services.kernel.errors import FailedPrecondition
from services.kernel.limit_kind import LimitKind
from services.kernel.names import reservation_id
from services.kernel.scope import Dimension
from services.kernel.usage import Usage
from services.kernel.window import WindowUnit
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold, ThresholdAction
from services.quota.domain.replay import counters as replay_counters
from services.quota.domain.replay import replay as replays
from services.quota.domain.replay.replay import PastCall
from services.quota.domain.replay.report import CallerTally, ReplayReport
from tests.worlds.past_calls import START_MS, one_after_the_other, outcome, past, replay
from tests.worlds.quota import ADA, CENT, counting, spend

DOLLAR = 100 * CENT
# 2026-12-01T00:00:00 in New York, from the start on.
DECEMBER_MS = 1_796_101_200_000 - START_MS


def only_limit(report: ReplayReport) -> tuple[int, int, int]:
    """Denied, degraded and saved of the one limit."""
    (tally,) = report.limits.values()
    return tally.denied, tally.degraded, tally.saved_nano_usd


def test_a_budget_of_two_dollars_lets_four_of_ten_calls_of_fifty_cents_pass() -> None:
    report = replay(one_after_the_other(10), spend("two-dollars", 200))

    assert outcome(report) == (4, 0, 6)
    assert (report.real_nano_usd, report.simulated_nano_usd, report.saved_nano_usd) == (
        5 * DOLLAR,
        2 * DOLLAR,
        3 * DOLLAR,
    )
    (tally,) = report.limits.values()
    assert (tally.policy, tally.kind, tally.window) == ("two-dollars", LimitKind.SPEND, "month/UTC")
    assert (tally.denied, tally.saved_nano_usd, tally.peak_basis_points) == (6, 3 * DOLLAR, 10_000)
    assert tally.first_denied_at_ms == START_MS + 4 * 2_000
    assert report.callers == {
        ("data-science", "ds-prod"): CallerTally(
            "data-science", "ds-prod", START_MS + 8_000, denied=6, saved_nano_usd=3 * DOLLAR
        )
    }


def test_from_three_quarters_of_the_budget_on_calls_cost_what_the_cheaper_target_takes() -> None:
    report = replay(one_after_the_other(10, model="tiered"), spend("four-dollars", 400))

    assert outcome(report) == (6, 4, 0)
    assert report.simulated_nano_usd == 6 * 50 * CENT + 4 * 5 * CENT
    assert only_limit(report) == (0, 4, 4 * 45 * CENT)
    (tally,) = report.limits.values()
    assert tally.first_degraded_at_ms == START_MS + 6 * 2_000
    assert tally.peak_basis_points == 8_000


def test_a_threshold_that_degrades_does_so_before_the_model_itself_would() -> None:
    half = Threshold(5_000, action=ThresholdAction.DEGRADE)
    policy = replace(spend("four-dollars", 400), thresholds=(half,))

    assert outcome(replay(one_after_the_other(10, model="tiered"), policy)) == (4, 6, 0)


def test_a_burst_is_degraded_before_it_is_denied() -> None:
    at_once = [past(number, model="tiered") for number in range(8)]

    report = replay(at_once, spend("two-dollars-ten", 210))

    assert outcome(report) == (4, 2, 2)
    assert only_limit(report) == (2, 2, 2 * 45 * CENT + 2 * 50 * CENT)


def test_a_call_that_the_cheaper_target_served_anyway_is_not_degraded() -> None:
    calls = one_after_the_other(10, model="tiered", served="lab/cheap", cost_nano_usd=5 * CENT)

    report = replay(calls, spend("half-a-dollar", 50))

    assert outcome(report) == (10, 0, 0)
    assert report.saved_nano_usd == 0


def test_a_call_that_took_nothing_saves_nothing() -> None:
    failed = past(100_000, model="tiered", usage=Usage(), cost_nano_usd=0)

    report = replay([*one_after_the_other(6, model="tiered"), failed], spend("four-dollars", 400))

    assert outcome(report) == (7, 0, 0)


def test_a_window_begins_anew_at_the_midnight_of_its_time_zone() -> None:
    limit = Limit(LimitKind.SPEND, DOLLAR, WindowUnit.MONTH, timezone="America/New_York")
    times = [DECEMBER_MS - 9_000, DECEMBER_MS - 6_000, DECEMBER_MS - 1, DECEMBER_MS, DECEMBER_MS + 1_500]

    report = replay([past(at_ms) for at_ms in times], QuotaPolicy("monthly", Match(), (limit,)))

    assert outcome(report) == (4, 0, 1)
    (tally,) = report.limits.values()
    assert tally.first_denied_at_ms == START_MS + DECEMBER_MS - 1


def test_a_call_counts_in_the_window_in_which_it_was_admitted() -> None:
    limit = Limit(LimitKind.SPEND, DOLLAR // 2, WindowUnit.MONTH, timezone="America/New_York")
    across = past(DECEMBER_MS - 1)

    report = replay([across, past(DECEMBER_MS + 5_000)], QuotaPolicy("monthly", Match(), (limit,)))

    assert outcome(report) == (2, 0, 0)


def test_what_a_rolling_window_counted_leaves_it_again() -> None:
    limit = Limit(LimitKind.REQUESTS, 2, WindowUnit.ROLLING, rolling_ms=24 * 3_600_000)
    hours = [0, 1, 2, 23, 26, 27]

    report = replay([past(hour * 3_600_000) for hour in hours], QuotaPolicy("rolling", Match(), (limit,)))

    assert outcome(report) == (4, 0, 2)


def test_each_run_has_its_own_limit_and_calls_without_one_have_none() -> None:
    limit = Limit(LimitKind.SPEND, DOLLAR, WindowUnit.RUN)
    runs = ["first", "first", "first", "second", "", "", ""]
    calls = [past(number * 2_000, run=run) for number, run in enumerate(runs)]

    report = replay(calls, QuotaPolicy("each-run", Match(), (limit,)))

    assert outcome(report) == (6, 0, 1)


def test_calls_count_as_in_flight_from_their_admission_to_their_end() -> None:
    calls = [past(0), past(500), past(999), past(1_000), past(1_999)]

    report = replay(calls, counting("one-at-a-time", LimitKind.CONCURRENCY, 1, WindowUnit.LIFETIME))

    assert outcome(report) == (2, 0, 3)
    (tally,) = report.limits.values()
    assert (tally.window, tally.peak_basis_points) == ("", 10_000)


def test_a_call_holds_what_it_takes_while_it_runs() -> None:
    at_once = [past(number) for number in range(5)]

    assert outcome(replay(at_once, spend("two-dollars", 200))) == (4, 0, 1)


def test_calls_are_judged_in_the_order_of_their_admission() -> None:
    # Its head came first, but its body took half a second.
    slow = past(0, id=reservation_id(START_MS + 500, b"\2" * 8), cost_nano_usd=20 * CENT)
    quick = past(100, cost_nano_usd=30 * CENT)

    report = replay([slow, quick], spend("thirty-cents", 30))

    assert outcome(report) == (1, 0, 1)
    assert report.simulated_nano_usd == 30 * CENT


def test_a_single_call_can_cost_too_much() -> None:
    calls = [past(0), past(2_000, cost_nano_usd=51 * CENT)]

    report = replay(calls, counting("half-a-dollar-each", LimitKind.REQUEST_COST, 50 * CENT, WindowUnit.LIFETIME))

    assert outcome(report) == (1, 0, 1)


def test_tokens_are_those_that_the_calls_took() -> None:
    report = replay(one_after_the_other(4), counting("input", LimitKind.INPUT_TOKENS, 150_000))

    assert outcome(report) == (3, 0, 1)


def test_the_limit_that_refuses_is_reported_and_the_others_only_show_how_full_they_were() -> None:
    roomy, tight = spend("roomy", 1_000), counting("tight", LimitKind.REQUESTS, 3)

    report = replay(one_after_the_other(5), roomy, tight)

    assert [(each.policy, each.denied, each.peak_basis_points) for each in report.limits.values()] == [
        ("roomy", 0, 1_500),
        ("tight", 2, 10_000),
    ]


def test_a_policy_that_only_watches_refuses_nothing_and_shows_what_it_saw() -> None:
    report = replay(one_after_the_other(4), replace(spend("watching", 100), mode=Mode.SHADOW))

    assert outcome(report) == (4, 0, 0)
    (tally,) = report.limits.values()
    assert tally.peak_basis_points == 20_000


def test_each_distinct_user_has_its_own_counter() -> None:
    bob = replace(ADA, key_id="key_bob", key="bobs", user="bob@example.com")
    calls = [past(number * 2_000, attribution=who) for number, who in enumerate([ADA, ADA, bob, bob, bob])]

    report = replay(calls, replace(spend("dollar-each", 100), each=Dimension.USER))

    assert outcome(report) == (4, 0, 1)
    assert list(report.callers) == [("data-science", "bobs")]


def test_a_key_that_changed_hands_is_judged_by_whom_each_call_belonged_to() -> None:
    moved = replace(ADA, team="research")
    calls = [past(0), past(2_000, attribution=moved), past(4_000)]

    report = replay(calls, spend("ds", 50, match=Match(team="data-science")))

    assert outcome(report) == (2, 0, 1)


@pytest.mark.parametrize(
    ("call", "real"),
    [
        (past(0, cost_nano_usd=None), 0),
        (past(0, model="gone", served="lab/gone"), 50 * CENT),
        (past(0, dialect=None), 50 * CENT),
        (past(0, operation=None), 50 * CENT),
    ],
)
def test_a_call_about_which_too_little_is_known_keeps_its_cost_and_is_counted(call: PastCall, real: int) -> None:
    report = replay([call], counting("calls", LimitKind.REQUESTS, 1))

    assert (outcome(report), report.unpriced) == ((1, 0, 0), 1)
    assert (report.real_nano_usd, report.simulated_nano_usd) == (real, real)


@pytest.mark.parametrize("operation", [Operation.EMBED, None])
def test_a_call_that_no_chat_target_is_known_to_serve_is_not_moved_to_a_cheaper_one(
    operation: Operation | None,
) -> None:
    half = Threshold(5_000, action=ThresholdAction.DEGRADE)
    policy = replace(counting("calls", LimitKind.REQUESTS, 4), thresholds=(half,))

    assert outcome(replay(one_after_the_other(4, model="tiered"), policy)) == (2, 2, 0)
    report = replay(one_after_the_other(4, model="tiered", operation=operation), policy)
    assert (outcome(report), report.unpriced, report.saved_nano_usd) == ((4, 0, 0), 4, 0)


def test_a_cheaper_target_without_a_price_saves_nothing_that_anybody_knows() -> None:
    half = Threshold(5_000, action=ThresholdAction.DEGRADE)
    policy = replace(counting("calls", LimitKind.REQUESTS, 4), thresholds=(half,))

    report = replay(one_after_the_other(4, model="half-priced"), policy)

    assert (outcome(report), report.unpriced) == ((2, 2, 0), 2)
    assert report.saved_nano_usd == 0


def test_a_breaker_stops_a_key_that_spends_far_faster_than_the_floor_allows() -> None:
    # A dollar in a minute. Calls in flight hold nothing of it, so the third still passes and the fourth does not.
    limit = Limit(LimitKind.BURN_RATE, DOLLAR // 2, WindowUnit.LIFETIME, factor_percent=200)
    policy = QuotaPolicy("loops", Match(), (limit,), each=Dimension.KEY)
    other = replace(ADA, key_id="key_bob", key="bobs")
    calls = [past(0), past(2_000), past(4_000), past(6_000), past(8_000, attribution=other), past(300_000)]

    report = replay(calls, policy)

    assert outcome(report) == (5, 0, 1)
    assert list(report.callers) == [("data-science", "ds-prod")]


def test_a_policy_that_refuses_unknown_members_stops_the_calls_that_had_some_and_they_take_no_room() -> None:
    strict = replace(spend("a-dollar", 100), refuses_unknown_members=True)
    odd = [past(number * 2_000, has_unknown_members=True) for number in range(3)]
    known = [past((number + 3) * 2_000) for number in range(3)]

    report = replay([*odd, *known], spend("roomy", 1_000), strict)

    assert outcome(report) == (2, 0, 4)
    (tally,) = report.unknown_members.values()
    assert (tally.policy, tally.denied, tally.first_denied_at_ms) == ("a-dollar", 3, START_MS)
    assert tally.saved_nano_usd == 3 * 50 * CENT
    assert [(each.policy, each.denied) for each in report.limits.values()] == [("roomy", 0), ("a-dollar", 1)]
    assert report.saved_nano_usd == 4 * 50 * CENT
    (caller,) = report.callers.values()
    assert (caller.denied, caller.saved_nano_usd) == (4, 4 * 50 * CENT)


@pytest.mark.parametrize("changed", [{"mode": Mode.SHADOW}, {"match": Match(team="marketing")}])
def test_unknown_members_are_refused_only_by_an_enforced_policy_that_matches(changed: dict[str, Any]) -> None:
    strict = replace(spend("strict", 1_000), refuses_unknown_members=True, **changed)

    report = replay([past(0, has_unknown_members=True)], spend("roomy", 1_000), strict)

    assert outcome(report) == (1, 0, 0)
    assert [tally.denied for tally in report.unknown_members.values()] == [0]


def test_counters_of_windows_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_counters, "MOST_COUNTERS", 10)
    monkeypatch.setattr(replay_counters, "FEW_COUNTERS", 4)
    minutes = [past(minute * 60_000) for minute in range(200)]

    report = replay(minutes, counting("each-minute", LimitKind.REQUESTS, 1, WindowUnit.MINUTE))

    assert outcome(report) == (200, 0, 0)


def test_more_counters_than_a_simulation_may_have_end_it_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_counters, "MOST_COUNTERS", 10)
    monkeypatch.setattr(replay_counters, "FEW_COUNTERS", 4)
    limit = Limit(LimitKind.SPEND, DOLLAR, WindowUnit.RUN)
    calls = [past(number * 2_000, run=f"run-{number}") for number in range(12)]

    with pytest.raises(FailedPrecondition, match="more than 10 counters at once"):
        replay(calls, QuotaPolicy("each-run", Match(), (limit,)))


def test_more_calls_in_flight_than_a_simulation_may_hold_end_it_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MOST_IN_FLIGHT", 3)

    with pytest.raises(FailedPrecondition, match="more than 3 calls are in flight"):
        replay([past(number) for number in range(4)])


def test_more_keys_than_a_simulation_may_know_end_it_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MOST_KEYS", 1)
    calls = [past(2_000 * number, attribution=replace(ADA, key_id=f"key_{number}")) for number in range(3)]

    with pytest.raises(FailedPrecondition, match="belong to more than 1 keys"):
        replay(calls)


def test_the_moment_of_admission_is_read_off_the_id_if_it_lies_within_the_call() -> None:
    assert past(0, id=reservation_id(START_MS + 7, b"\1" * 8)).admitted_at_ms == START_MS + 7
    assert past(0, id=reservation_id(START_MS + 1_001, b"\1" * 8)).admitted_at_ms == START_MS
    assert past(0, id="another").admitted_at_ms == START_MS
