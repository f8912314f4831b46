from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.policies.lint import (
    PolicyState,
    allowances_in_vain,
    estimates_in_vain,
    refusals_in_vain,
    state_of,
    unreachable_limits,
    why_not,
)
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from tests.worlds.quota import ADA, ADAS_KEY, spend

MODELS = {"dear", "cheap"}


@pytest.mark.parametrize(
    ("match", "mode", "state"),
    [
        (Match(), Mode.ENFORCE, PolicyState.ACTIVE),
        (Match(team="data-science", model="dear"), Mode.ENFORCE, PolicyState.ACTIVE),
        (Match(), Mode.SHADOW, PolicyState.SHADOW),
        (Match(), Mode.DISABLED, PolicyState.DISABLED),
        (Match(team="no-such"), Mode.ENFORCE, PolicyState.UNREACHABLE),
        (Match(team="no-such"), Mode.SHADOW, PolicyState.UNREACHABLE),
        (Match(model="no-such"), Mode.ENFORCE, PolicyState.UNREACHABLE),
    ],
)
def test_a_policy_is_worth_what_calls_can_reach_of_it(match: Match, mode: Mode, state: PolicyState) -> None:
    assert state_of(replace(spend("p", 1, match=match), mode=mode), [ADAS_KEY], MODELS) is state


def test_a_key_that_may_not_use_a_model_does_not_reach_its_policy() -> None:
    of_dear = spend("p", 1, match=Match(model="dear"))
    assert state_of(of_dear, [replace(ADAS_KEY, models=("cheap",))], MODELS) is PolicyState.UNREACHABLE


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (spend("p", 1), ""),
        (spend("p", 1, match=Match(team="red")), "it is for team red, and the call has team data-science"),
        (spend("p", 1, match=Match(model="cheap")), "it is for model cheap, and the call has model dear"),
        (replace(spend("p", 1), mode=Mode.DISABLED), "it is disabled"),
    ],
)
def test_why_a_policy_does_not_match_is_said_of_the_first_thing_that_differs(policy: QuotaPolicy, reason: str) -> None:
    assert why_not(policy, ADA, "dear") == reason


def test_a_call_without_what_a_policy_looks_at_is_told_so() -> None:
    nobody = replace(ADA, user="")
    assert why_not(replace(spend("p", 1), each=Dimension.USER), nobody, "dear") == ""
    assert (
        why_not(spend("p", 1, match=Match(user="bob")), nobody, "dear")
        == "it is for user bob, and the call has no user"
    )


TEAM, PROD = Match(team="a"), Match(team="a", environment="prod")


@pytest.mark.parametrize(
    "narrow",
    [
        spend("narrow", 10, match=PROD),
        spend("narrow", 11, match=PROD),
        replace(spend("narrow", 10, match=TEAM), each=Dimension.USER),
    ],
)
def test_a_limit_that_a_wider_one_always_reaches_first_cannot_bite(narrow: QuotaPolicy) -> None:
    (warning,) = unreachable_limits([spend("wide", 10, match=TEAM), narrow])
    assert warning.startswith("Policy narrow can never reach its limit of spend per month: policy wide counts")


@pytest.mark.parametrize(
    "other",
    [
        spend("other", 9, match=PROD),
        spend("other", 10, match=Match(team="b", environment="prod")),
        spend("other", 10, WindowUnit.DAY, match=PROD),
        replace(spend("other", 10, match=PROD), mode=Mode.SHADOW),
        replace(spend("other", 9, match=TEAM), each=Dimension.USER),
    ],
)
def test_a_limit_that_can_be_reached_by_itself_is_not_complained_about(other: QuotaPolicy) -> None:
    assert list(unreachable_limits([spend("wide", 10, match=TEAM), other])) == []


def with_allowance(policy: QuotaPolicy) -> QuotaPolicy:
    return replace(policy, allowance_nano_usd=1)


def test_an_allowance_says_that_it_has_no_effect_where_quota_keeps_the_counters_itself() -> None:
    policies = [with_allowance(spend("p", 1)), spend("q", 1)]
    (warning,) = allowances_in_vain(policies, counters_shared=False)
    assert warning.startswith("Policy p states an allowance for a failure of the counter store, which has no effect")


@pytest.mark.parametrize(
    ("other", "in_vain"),
    [
        (spend("wide", 9), True),
        (spend("same", 9, match=Match(team="ds")), True),
        (replace(spend("each", 9), each=Dimension.TEAM), True),
        (replace(spend("each", 9), each=Dimension.KEY), True),
        (replace(spend("each", 9), each=Dimension.USER), True),
        (spend("narrower", 9, match=Match(team="ds", user="ada")), False),
        (with_allowance(spend("wide", 9)), False),
        (replace(spend("watching", 9), mode=Mode.SHADOW), False),
        (replace(spend("steps-back", 9), default=True), False),
        (spend("runs", 9, per=WindowUnit.RUN), False),
    ],
)
def test_an_allowance_that_another_policy_always_denies_says_so(other: QuotaPolicy, *, in_vain: bool) -> None:
    team = with_allowance(spend("team", 1, match=Match(team="ds")))
    warnings = list(allowances_in_vain([team, other], counters_shared=True))
    assert [f"policy {other.name} applies to the same calls" in warning for warning in warnings] == [True] * in_vain


@pytest.mark.parametrize(("mode", "in_vain"), [(Mode.ENFORCE, False), (Mode.SHADOW, True), (Mode.DISABLED, True)])
def test_a_policy_that_refuses_unknown_members_and_is_not_enforced_says_so(mode: Mode, *, in_vain: bool) -> None:
    policy = replace(spend("careful", 1), mode=mode)
    refusing = replace(policy, refuses_unknown_members=True)
    assert [f"no effect in mode {mode}" in warning for warning in refusals_in_vain([refusing])] == [True] * in_vain
    assert not list(refusals_in_vain([policy]))


def test_a_policy_that_keeps_no_doubt_where_none_would_be_says_so() -> None:
    policy = replace(spend("trusting", 1), estimates_unmeasured=True)
    (limit,) = policy.limits
    in_vain = replace(policy, limits=(replace(limit, soft=True),))

    (warning,) = estimates_in_vain([policy, in_vain, replace(in_vain, estimates_unmeasured=False)])

    assert warning.startswith("Policy trusting says `unmeasured: estimate`, which has no effect: only hard limits")
