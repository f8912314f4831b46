"""The limits of replayed calls are those that real calls would have."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.replay.limits import ReplayLimits
from tests.worlds.past_calls import START_MS
from tests.worlds.quota import ADA, CENT, spend

HOUR_MS = 3_600_000
POLICIES = (
    spend("month", 100),
    QuotaPolicy(
        "mixed",
        Match(team="data-science"),
        (
            Limit(LimitKind.REQUESTS, 5, WindowUnit.MINUTE),
            Limit(LimitKind.SPEND, CENT, WindowUnit.RUN),
            Limit(LimitKind.TOKENS, 5, WindowUnit.ROLLING, rolling_ms=24 * HOUR_MS),
            Limit(LimitKind.CONCURRENCY, 5, WindowUnit.LIFETIME),
            Limit(LimitKind.SPEND, CENT, WindowUnit.HOUR, soft=True),
            Limit(LimitKind.BURN_RATE, CENT, WindowUnit.LIFETIME, factor_percent=300),
        ),
        each=Dimension.USER,
    ),
    replace(spend("watching", 100, WindowUnit.DAY, Match(model="dear")), mode=Mode.SHADOW),
    replace(spend("fallback", 100, WindowUnit.WEEK), default=True),
    replace(spend("off", 100), mode=Mode.DISABLED),
    replace(spend("strict", 100, WindowUnit.RUN), refuses_unknown_members=True),
    replace(spend("strict-but-watching", 100), refuses_unknown_members=True, mode=Mode.SHADOW),
)
CALLERS = (ADA, replace(ADA, team="research"), replace(ADA, user="", key="bare"))


@given(
    st.lists(st.sampled_from(POLICIES), unique=True),
    st.lists(
        st.tuples(
            st.sampled_from(CALLERS),
            st.sampled_from(["dear", "cheap"]),
            st.sampled_from(["", "first", "second"]),
            st.sampled_from([0, 1, 59_000, HOUR_MS, 40 * HOUR_MS]),
        ),
        max_size=20,
    ),
)
@settings(deadline=None)
def test_they_are_those_of_living_calls(
    policies: list[QuotaPolicy], calls: list[tuple[Attribution, str, str, int]]
) -> None:
    limits, now_ms = ReplayLimits(policies, lambda _: CENT), START_MS
    for who, model, run, pause_ms in calls:
        now_ms += pause_ms
        assert limits.find(who, model, run, now_ms) == apply_limits(policies, Call(who, model, run, CENT), now_ms)
