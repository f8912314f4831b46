"""Conditions that hold only for the calls of one team."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import InvalidInput
from services.router.domain.health import Left
from services.router.domain.lead import TargetStates
from services.router.domain.model import Condition, Measure, Model, Term, check_model_route
from services.router.domain.plan import Tier, check_every_fallback_counts, compile_model
from tests.worlds.router import budget, fallback, model

LAB = frozenset({"lab"})
FOR_DS = Condition(team="ds")


def chains(tiers: Sequence[Tier]) -> dict[int, list[str]]:
    return {tier.from_basis_points: [one.target for slot in tier.chain for one in slot.targets] for tier in tiers}


def of_team(route: Model, team: str, states: TargetStates | None = None) -> tuple[Tier, ...]:
    plan = compile_model(route, LAB, states or TargetStates())
    return next(one.tiers for one in plan.of_teams if one.team == team)


def test_a_fallback_for_a_team_leads_its_calls_always_and_those_of_others_only_after_a_failure() -> None:
    route = model("m", "lab/dear", fallbacks=(fallback("lab/cheap", when=FOR_DS),))
    assert chains(compile_model(route, LAB).tiers) == {0: ["lab/dear", "lab/cheap"]}
    (tier,) = of_team(route, "ds")
    assert chains([tier]) == {0: ["lab/cheap"]}
    # It is the team's own choice, and no downgrade.
    assert (tier.reason, tier.displaced) == (None, None)


def test_a_used_budget_leads_only_the_calls_of_the_team() -> None:
    route = model("m", "lab/dear", fallbacks=(fallback("lab/cheap", when=replace(budget(7_500), team="ds")),))
    assert chains(compile_model(route, LAB).tiers) == {0: ["lab/dear", "lab/cheap"]}
    tiers = of_team(route, "ds")
    assert chains(tiers) == {0: ["lab/dear", "lab/cheap"], 7_500: ["lab/cheap"]}
    assert [tier.reason for tier in tiers] == [None, LeadReason.BUDGET]


def test_a_sick_target_is_left_only_for_the_calls_of_the_team() -> None:
    when = Condition((Term(Measure.ERROR_RATE, 2_000, 10),), team="ds")
    route = model("m", "lab/dear", fallbacks=(fallback("lab/cheap", when=when),))
    sick = TargetStates(look=lambda _: Left(1, LeadReason.ERRORS, (), 1_000))
    assert chains(compile_model(route, LAB, sick).tiers) == {0: ["lab/dear", "lab/cheap"]}
    assert chains(of_team(route, "ds", sick)) == {0: ["lab/cheap", "lab/dear"]}


def test_each_team_has_its_own_tiers_and_the_others_have_none() -> None:
    route = model(
        "m",
        "lab/dear",
        fallbacks=(fallback("lab/cheap", when=FOR_DS), fallback("lab/small", when=Condition(team="web"))),
    )
    plan = compile_model(route, LAB)
    assert {one.team: chains(one.tiers)[0][0] for one in plan.of_teams} == {"ds": "lab/cheap", "web": "lab/small"}
    assert compile_model(model("m", "lab/dear"), LAB).of_teams == ()


def test_a_team_whose_own_targets_are_unusable_is_served_like_the_others() -> None:
    route = model("m", "lab/dear", fallbacks=(fallback("other/cheap", when=FOR_DS),))
    assert compile_model(route, LAB).of_teams == ()


def test_a_fallback_that_only_one_team_sees_counts_and_one_that_nobody_sees_does_not() -> None:
    check_every_fallback_counts("m", model("m", "lab/a", "lab/b", fallbacks=(fallback("lab/b", when=FOR_DS),)))
    with pytest.raises(InvalidInput, match="adds nothing"):
        check_every_fallback_counts("m", model("m", "lab/a", fallbacks=(fallback("lab/a", when=FOR_DS),)))


def test_the_name_of_a_team_is_checked() -> None:
    route = model("m", "lab/a", fallbacks=(fallback("lab/b", when=Condition(team="no team")),))
    with pytest.raises(InvalidInput) as refused:
        check_model_route("models[0]", route, LAB)
    assert refused.value.field == "models[0].fallbacks[0].when.team"
