"""Whatever policies exist, a team's admin cannot raise a limit above the limit of the whole team."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override_rules import length_ms, team_cap
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.policies.scope import scope_of

NAMES = st.sampled_from(["", "", "", "a", "b"])
LIMITS = st.builds(
    Limit,
    st.sampled_from([LimitKind.SPEND, LimitKind.TOKENS]),
    st.integers(0, 9),
    st.sampled_from(list(WindowUnit)),
    rolling_ms=st.sampled_from([3_600_000, 30 * 86_400_000]),
)
POLICIES = st.builds(
    QuotaPolicy,
    name=st.just("p"),
    match=st.builds(Match, team=st.sampled_from(["a", "a", "b", ""]), environment=NAMES, user=NAMES),
    limits=st.lists(LIMITS, min_size=1, max_size=3).map(tuple),
    each=st.sampled_from([None, None, Dimension.TEAM, Dimension.USER]),
    default=st.sampled_from([False, False, True]),
    mode=st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW, Mode.DISABLED]),
)
# Two calls of team "a" and one of team "b" that have nothing else in common.
OF_A = [Attribution("k1", "k1", "a", "", "a", "a"), Attribution("k2", "k2", "a", "", "b", "b")]
OF_B = Attribution("k3", "k3", "b", "", "a", "a")


def counts_all_of_a_together(policy: QuotaPolicy) -> bool:
    """Looks at its effect on calls, not at its text."""
    first, second = (scope_of(policy, caller, "m") for caller in OF_A)
    return first is not None and first == second and first != scope_of(policy, OF_B, "m")


@given(st.lists(POLICIES, max_size=6), POLICIES, st.data())
def test_a_cap_is_the_tightest_limit_on_the_whole_team_for_at_least_as_long(
    policies: list[QuotaPolicy], policy: QuotaPolicy, data: st.DataObject
) -> None:
    limit = data.draw(st.sampled_from(policy.limits))

    cap = team_cap([*policies, policy], "a", policy, limit)

    above = [
        other.bound
        for parent in [*policies, policy]
        if parent.mode is Mode.ENFORCE and not parent.default and counts_all_of_a_together(parent)
        for other in parent.limits
        if other.kind is limit.kind and other.per is not WindowUnit.RUN and length_ms(other) >= length_ms(limit)
    ]
    if policy.match.team == "a" and not counts_all_of_a_together(policy):
        assert cap == (min(above) if above else None)
    else:
        assert cap is None


@given(st.lists(POLICIES, max_size=6), POLICIES, POLICIES)
def test_another_policy_can_only_lower_a_cap(
    policies: list[QuotaPolicy], policy: QuotaPolicy, another: QuotaPolicy
) -> None:
    limit = policy.limits[0]
    before, after = (team_cap(some, "a", policy, limit) for some in (policies, [*policies, another]))

    assert before is None or (after is not None and after <= before)


def test_longer_windows_are_longer_and_a_run_can_outlast_all_but_a_lifetime() -> None:
    lengths = [length_ms(Limit(LimitKind.SPEND, 1, unit)) for unit in WindowUnit if unit is not WindowUnit.ROLLING]

    # They are listed from the shortest to the longest, a run last.
    assert lengths == sorted(lengths)
    assert length_ms(Limit(LimitKind.SPEND, 1, WindowUnit.ROLLING, rolling_ms=60_000)) == lengths[0]
