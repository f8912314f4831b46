from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.policies.counting import CountedLimit, counted_limits, preferred
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.policies.scope import scope_of
from tests.worlds.quota import ADA, counting, spend

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
ROLLING = QuotaPolicy(
    "rolling", Match(team="data-science"), (Limit(LimitKind.TOKENS, 9, WindowUnit.ROLLING, rolling_ms=24 * HOUR_MS),)
)
PER_RUN = QuotaPolicy("run", Match(), (Limit(LimitKind.SPEND, 9, WindowUnit.RUN),), each=Dimension.USER)


def only(policy: QuotaPolicy) -> CountedLimit:
    (limit,) = counted_limits([policy], NOW_MS)
    return limit


def test_only_what_adds_up_and_is_not_disabled_counts() -> None:
    kinds = [counting(kind, kind, 1) for kind in (LimitKind.REQUESTS, LimitKind.OUTPUT_TOKENS)]
    flat = [counting(kind, kind, 1, WindowUnit.LIFETIME) for kind in (LimitKind.CONCURRENCY, LimitKind.REQUEST_COST)]
    modes = [replace(spend(mode, 1), mode=mode) for mode in (Mode.SHADOW, Mode.DISABLED)]

    counted = [limit.policy for limit in counted_limits([*kinds, *flat, *modes], NOW_MS)]

    assert counted == ["requests", "output_tokens", "shadow"]


@pytest.mark.parametrize("policy", [ROLLING, PER_RUN, spend("month", 1)], ids=lambda policy: policy.name)
def test_its_windows_are_those_in_which_a_call_of_now_is_counted(policy: QuotaPolicy) -> None:
    applied = apply_limits([policy], Call(ADA, "tiny", "loop"), NOW_MS)

    counted = list(counted_limits([policy], NOW_MS))

    assert {limit.window.start_ms for limit in counted} == {key.window_start_ms for key in applied.counters}
    assert all(limit.has(key.scope) for limit in counted for key in applied.counters)
    assert counted[0].window.retain_until_ms == applied.limits[0].retain_until_ms


def test_what_a_policy_was_before_left_counters_that_are_not_its_own() -> None:
    limit = only(spend("team", 1, match=Match(team="data-science")))

    assert limit.has("team=data-science")
    assert not limit.has("team=research")
    assert not limit.has("organization")


def test_default_policies_step_back_before_enforced_ones_only() -> None:
    team, each = Match(team="data-science"), replace(spend("each", 1), each=Dimension.USER)
    policies = [
        spend("enforced", 1, match=team),
        each,
        replace(spend("shadow", 1), mode=Mode.SHADOW),
        replace(spend("default", 1), default=True),
    ]

    assert list(preferred(policies)) == [((Dimension.TEAM, "data-science"),), ((Dimension.USER, ""),)]
    assert [limit.default for limit in counted_limits(policies, NOW_MS)] == [False, False, False, True]


def test_the_parts_of_a_policy_name_its_scopes() -> None:
    policy = QuotaPolicy("p", Match(environment="prod", model="tiny"), (), each=Dimension.USER)

    assert policy.scope_parts == ((Dimension.ENVIRONMENT, "prod"), (Dimension.USER, ""), (Dimension.MODEL, "tiny"))
    assert scope_of(policy, ADA, "tiny") == "environment=prod,user=ada@example.com,model=tiny"
