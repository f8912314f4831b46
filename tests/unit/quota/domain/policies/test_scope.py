from __future__ import annotations

from dataclasses import replace

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy
from services.quota.domain.policies.scope import fixed_scope, scope_of

ADA = Attribution("key_1", "ci", "data-science", "forecasting", "prod", "ada@example.com")


def policy(match: Match, each: Dimension | None = None) -> QuotaPolicy:
    return QuotaPolicy("p", match, (Limit(LimitKind.REQUESTS, 5, WindowUnit.DAY),), each)


def test_an_empty_match_applies_to_every_call_under_one_scope() -> None:
    assert scope_of(policy(Match()), ADA, "tiny") == "organization"
    assert scope_of(policy(Match()), Attribution("key_2", "bare"), "tiny") == "organization"


def test_every_named_dimension_must_be_the_calls_own() -> None:
    whole = Match("data-science", "forecasting", "prod", "ada@example.com", "ci", "tiny")

    assert scope_of(policy(whole), ADA, "tiny") == (
        "team=data-science,project=forecasting,environment=prod,user=ada@example.com,key=ci,model=tiny"
    )
    for dimension in Dimension:
        assert scope_of(policy(replace(whole, **{dimension: "other"})), ADA, "tiny") is None


def test_each_adds_the_calls_own_value_to_the_scope() -> None:
    dev = replace(ADA, environment="dev")

    assert (
        scope_of(policy(Match(environment="dev"), Dimension.USER), dev, "m") == "environment=dev,user=ada@example.com"
    )
    assert scope_of(policy(Match(), Dimension.MODEL), ADA, "tiny") == "model=tiny"
    assert scope_of(policy(Match(user="ada@example.com"), Dimension.USER), ADA, "m") == "user=ada@example.com"


def test_calls_without_a_value_of_each_count_together_so_that_none_gets_past() -> None:
    bare = Attribution("key_2", "bare")
    for dimension in (Dimension.TEAM, Dimension.PROJECT, Dimension.ENVIRONMENT, Dimension.USER):
        assert scope_of(policy(Match(), dimension), bare, "tiny") == f"{dimension}=-"
    assert scope_of(policy(Match(team="data-science"), Dimension.USER), replace(ADA, user=""), "tiny") == (
        "team=data-science,user=-"
    )


def test_the_fixed_scope_is_that_of_any_call_that_matches() -> None:
    for match in (Match(), Match(team="data-science", environment="prod")):
        assert fixed_scope(policy(match)) == scope_of(policy(match), ADA, "tiny")
