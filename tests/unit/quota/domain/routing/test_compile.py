from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import LeadReason
from services.quota.domain.routing.compile import FitTier, Route, Routes, compile_route, draw_chain, tier_at
from services.quota.domain.routing.plan import ModelPlan, PlannedTarget, PlanSnapshot, PriceSnapshot
from tests.worlds.quota import DEAR, target, tier

TARGETS = {
    each.name: each
    for each in (
        target("a/m", Dialect.OPENAI, Dialect.ANTHROPIC),
        target("b/m"),
        target("c/m", Dialect.ANTHROPIC),
        target("d/unpriced"),
    )
}
PRICES = dict.fromkeys(("a/m", "b/m", "c/m"), DEAR)


def compiled(plan: ModelPlan, dialect: Dialect = Dialect.OPENAI, targets: dict[str, PlannedTarget] = TARGETS) -> Route:
    return compile_route(plan, targets, PRICES, dialect)


def names(tiers: Sequence[FitTier]) -> list[list[str]]:
    return [[fit.target.name for fit in draw_chain(each, lambda _: 0)] for each in tiers]


def test_targets_without_a_face_in_the_dialect_are_left_out() -> None:
    plan = ModelPlan("m", (tier(0, "c/m", "a/m", "b/m"),))

    assert names(compiled(plan).tiers) == [["a/m", "b/m"]]
    assert names(compiled(plan, Dialect.ANTHROPIC).tiers) == [["c/m", "a/m"]]
    assert compiled(plan, Dialect.GEMINI).tiers == ()


def test_a_target_that_the_plan_does_not_describe_is_left_out() -> None:
    assert names(compiled(ModelPlan("m", (tier(0, "x/unknown", "b/m"),))).tiers) == [["b/m"]]


def test_unpriced_targets_are_left_out_of_the_priced_tiers_only() -> None:
    route = compiled(ModelPlan("m", (tier(0, "d/unpriced", "a/m"), tier(5_000, "d/unpriced"))))

    assert names(route.tiers) == [["d/unpriced", "a/m"], ["d/unpriced"]]
    assert names(route.priced_tiers) == [["a/m"]]


def test_a_chain_never_names_a_target_twice() -> None:
    route = compiled(ModelPlan("m", (tier(0, "a/m", [("b/m", 1), ("a/m", 1)], "b/m"),)))

    assert names(route.tiers) == [["a/m", "b/m"]]


def test_the_tier_with_the_highest_threshold_that_is_reached_serves() -> None:
    tiers = compiled(ModelPlan("m", (tier(0, "a/m"), tier(5_000, "b/m"), tier(7_500, "a/m")))).tiers

    assert [tier_at(tiers, used) for used in (0, 4_999, 5_000, 7_499, 7_500, 20_000)] == [0, 0, 1, 1, 2, 2]


def test_when_the_first_tier_has_no_fit_target_the_first_that_has_one_serves() -> None:
    tiers = compiled(ModelPlan("m", (tier(0, "c/m"), tier(7_500, "b/m")))).tiers

    assert names(tiers) == [["b/m"], ["b/m"]]
    assert tier_at(tiers, 0) == 0
    # Below 75 % the budget is not the reason.
    assert [each.reason for each in tiers] == [LeadReason.UNFIT, LeadReason.BUDGET]


def test_a_tier_says_why_its_first_slot_does_not_lead() -> None:
    plan = ModelPlan("m", (tier(0, "c/m", "a/m"), tier(5_000, "d/unpriced", "b/m")))
    route = compiled(plan)

    assert [each.reason for each in route.tiers] == [LeadReason.UNFIT, LeadReason.BUDGET]
    assert [each.reason for each in compiled(plan, Dialect.ANTHROPIC).tiers] == [None]
    unpriced = ModelPlan("m", (tier(0, "d/unpriced", "a/m"),))
    assert [each.reason for each in compiled(unpriced).priced_tiers] == [LeadReason.UNPRICED]
    assert [each.reason for each in compiled(unpriced).tiers] == [None]


def test_a_target_lacks_what_its_model_or_its_face_lacks() -> None:
    face = replace(target("a/m").faces[0], lacks=frozenset({"tools"}))
    lacking = replace(target("a/m"), faces=(face,), lacks=frozenset({"images"}))
    (only,) = compiled(ModelPlan("m", (tier(0, "a/m"),)), targets={"a/m": lacking}).tiers

    assert only.slots[0].targets[0].lacks == {"tools", "images"}


@pytest.mark.parametrize(("number", "first"), [(0, "a/m"), (1, "b/m"), (3, "b/m")])
def test_of_equals_one_leads_by_weight_and_the_others_follow(number: int, first: str) -> None:
    (only,) = compiled(ModelPlan("m", (tier(0, [("a/m", 1), ("b/m", 3)], "d/unpriced"),))).tiers
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return number

    chain = [fit.target.name for fit in draw_chain(only, draw)]

    assert asked == [4]
    assert chain[0] == first
    assert sorted(chain[:2]) == ["a/m", "b/m"]
    assert chain[2] == "d/unpriced"


def test_every_equal_leads_exactly_as_often_as_its_weight_says() -> None:
    (only,) = compiled(ModelPlan("m", (tier(0, [("a/m", 1), ("b/m", 3), ("d/unpriced", 2)]),))).tiers

    leaders = Counter(leader(only, number) for number in range(6))

    assert leaders == {"a/m": 1, "b/m": 3, "d/unpriced": 2}


def test_the_same_target_may_weigh_differently_in_each_tier() -> None:
    plan = ModelPlan("m", (tier(0, [("a/m", 1), ("b/m", 9)]), tier(5_000, [("a/m", 9), ("b/m", 1)])))
    first, second = compiled(plan).tiers

    assert (leader(first, 1), leader(second, 1)) == ("b/m", "a/m")


def leader(fit: FitTier, number: int) -> str:
    return draw_chain(fit, lambda _: number)[0].target.name


def test_calls_of_a_team_have_its_own_tiers_and_all_other_teams_share_theirs() -> None:
    plan = ModelPlan("m", (tier(0, "a/m"),), of_teams={"ds": (tier(0, "b/m"),)})
    routes = Routes(PlanSnapshot("1", {"m": plan}, TARGETS), PriceSnapshot("1", PRICES))
    found = {team: routes.find("m", Dialect.OPENAI, team) for team in ("ds", "web", "")}

    assert {team: names(route.tiers) for team, route in found.items() if route} == {
        "ds": [["b/m"]],
        "web": [["a/m"]],
        "": [["a/m"]],
    }
    assert found["web"] is found[""]
    assert routes.find("other", Dialect.OPENAI, "ds") is None
