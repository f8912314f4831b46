from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import InvalidInput
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.limit_id import MAX_COUNT, MAX_SPEND_NANO_USD, kind_of
from services.quota.domain.policies.policy import Match, QuotaPolicy, Threshold
from services.quota.domain.policies.policy_rules import check_policy

MONTHLY = Limit(LimitKind.SPEND, 2_000_000_000_000, WindowUnit.MONTH, "America/New_York")
POLICY = QuotaPolicy("ds-prod", Match(team="data-science", environment="prod"), (MONTHLY,))


def test_a_limit_is_filed_under_kind_window_and_zone_but_not_under_its_bound() -> None:
    assert MONTHLY.limit_id == "spend/month/America-New_York"
    assert replace(MONTHLY, bound=1).limit_id == MONTHLY.limit_id
    assert Limit(LimitKind.REQUESTS, 1, WindowUnit.DAY).limit_id == "requests/day/UTC"
    assert kind_of(MONTHLY.limit_id) is LimitKind.SPEND


def test_minutes_and_hours_are_the_same_in_every_zone() -> None:
    here, there = (Limit(LimitKind.TOKENS, 1, WindowUnit.HOUR, zone) for zone in ("Asia/Kolkata", "UTC"))

    assert here.limit_id == there.limit_id == "tokens/hour"


def test_only_short_windows_of_requests_and_tokens_are_rates() -> None:
    day_ms = 86_400_000
    limits = [Limit(kind, 1, per, rolling_ms=day_ms) for kind in LimitKind if kind.has_window for per in WindowUnit]
    rates = [limit for limit in limits if limit.is_rate]

    assert {limit.per for limit in rates} == {WindowUnit.MINUTE, WindowUnit.HOUR}
    assert LimitKind.SPEND not in {limit.kind for limit in rates}
    assert len(rates) == 8
    assert Limit(LimitKind.REQUESTS, 1, WindowUnit.ROLLING, rolling_ms=60_000).is_rate


def test_what_has_no_window_steers_nothing_and_calls_in_flight_are_a_rate() -> None:
    concurrency, cost = (
        Limit(kind, 1, WindowUnit.LIFETIME) for kind in (LimitKind.CONCURRENCY, LimitKind.REQUEST_COST)
    )

    assert (concurrency.steers, cost.steers) == (False, False)
    assert (concurrency.is_rate, cost.is_rate) == (True, False)
    assert (concurrency.limit_id, cost.limit_id) == ("concurrency", "request_cost")
    assert Limit(LimitKind.SPEND, 1, WindowUnit.LIFETIME).steers


@pytest.mark.parametrize(
    ("limit", "title"),
    [
        (MONTHLY, "spend per month"),
        (Limit(LimitKind.TOKENS, 1, WindowUnit.LIFETIME), "tokens in all"),
        (Limit(LimitKind.REQUESTS, 1, WindowUnit.ROLLING, rolling_ms=3_600_000), "requests in 60 minutes"),
        (Limit(LimitKind.REQUEST_COST, 1, WindowUnit.LIFETIME), "request cost"),
    ],
)
def test_a_limit_has_a_title_for_people(limit: Limit, title: str) -> None:
    assert limit.title == title


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        replace(POLICY, match=Match()),
        replace(POLICY, match=Match(user="ada@example.com", model="us.anthropic.claude-x:0", key="ci", project="p")),
        replace(POLICY, limits=(replace(MONTHLY, bound=0),)),
        replace(POLICY, limits=(replace(MONTHLY, bound=MAX_SPEND_NANO_USD),)),
        replace(POLICY, limits=(MONTHLY, replace(MONTHLY, timezone="UTC"), replace(MONTHLY, per=WindowUnit.DAY))),
        replace(POLICY, limits=(Limit(LimitKind.TOKENS, MAX_COUNT, WindowUnit.MINUTE),)),
        replace(POLICY, thresholds=(Threshold(1), Threshold(8_000, ("lead", "finance")), Threshold(10_000))),
    ],
)
def test_policies_that_can_be_enforced_pass(policy: QuotaPolicy) -> None:
    assert check_policy("policies[0]", policy) is policy


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (replace(POLICY, name="-x"), "policies[2].name"),
        (replace(POLICY, match=Match(team="a b")), "policies[2].match.team"),
        (replace(POLICY, match=Match(user="ada lovelace")), "policies[2].match.user"),
        (replace(POLICY, match=Match(model="x,y")), "policies[2].match.model"),
        (replace(POLICY, limits=()), "policies[2].limits"),
        (replace(POLICY, limits=(MONTHLY,) * 17), "policies[2].limits"),
        (replace(POLICY, limits=(MONTHLY, replace(MONTHLY, bound=5))), "policies[2].limits[1]"),
        (replace(POLICY, limits=(replace(MONTHLY, timezone="Mars/Olympus"),)), "policies[2].limits[0].time_zone"),
        (replace(POLICY, limits=(replace(MONTHLY, bound=-1),)), "policies[2].limits[0].amount"),
        (replace(POLICY, limits=(replace(MONTHLY, bound=MAX_SPEND_NANO_USD + 1),)), "policies[2].limits[0].amount"),
        (
            replace(POLICY, limits=(Limit(LimitKind.TOKENS, MAX_COUNT + 1, WindowUnit.DAY),)),
            "policies[2].limits[0].count",
        ),
        (replace(POLICY, thresholds=(Threshold(0),)), "policies[2].thresholds[0].basis_points"),
        (replace(POLICY, thresholds=(Threshold(10_001),)), "policies[2].thresholds[0].basis_points"),
        (replace(POLICY, thresholds=(Threshold(8_000), Threshold(8_000))), "policies[2].thresholds[1].basis_points"),
        (replace(POLICY, thresholds=(Threshold(8_000, ("a b",)),)), "policies[2].thresholds[0].notify[0]"),
        (replace(POLICY, thresholds=tuple(Threshold(at) for at in range(1, 18))), "policies[2].thresholds"),
        (replace(POLICY, allowance_nano_usd=-1), "policies[2].store_failure_allowance"),
        (replace(POLICY, allowance_nano_usd=MAX_SPEND_NANO_USD + 1), "policies[2].store_failure_allowance"),
    ],
)
def test_a_policy_that_cannot_be_enforced_is_refused_where_it_is_wrong(policy: QuotaPolicy, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_policy("policies[2]", policy)

    assert caught.value.field == field
