"""The index finds exactly the policies that a look at all of them would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.index import PolicyIndex
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.policies.scope import policies_for

NAMES = st.sampled_from(["", "a", "b"])
MATCHES = st.builds(Match, *[NAMES] * 6)
LIMITS = (Limit(LimitKind.REQUESTS, 1, WindowUnit.DAY),)


@st.composite
def policies(draw: st.DrawFn) -> list[QuotaPolicy]:
    return [
        QuotaPolicy(
            str(number),
            draw(MATCHES),
            LIMITS,
            each=draw(st.none() | st.sampled_from(Dimension)),
            mode=draw(st.sampled_from(Mode)),
            default=draw(st.booleans()),
        )
        for number in range(draw(st.integers(0, 12)))
    ]


@given(policies(), st.builds(Attribution, st.just("id"), *[NAMES] * 5), st.sampled_from(["a", "b"]))
def test_no_policy_that_applies_to_a_call_is_missed(
    given_policies: list[QuotaPolicy], attribution: Attribution, model: str
) -> None:
    candidates = PolicyIndex(given_policies).candidates(attribution, model)

    assert policies_for(candidates, attribution, model) == policies_for(given_policies, attribution, model)


def test_policies_of_other_teams_are_not_looked_at() -> None:
    many = [QuotaPolicy(f"p{team}", Match(team=f"team-{team}", environment="prod"), LIMITS) for team in range(10_000)]
    candidates = PolicyIndex(many).candidates(Attribution("id", "key", "team-7", "", "prod"), "model")

    assert [policy.name for policy in candidates] == ["p7"]
