"""Targets that cannot carry a call are left out of its chain, and the decision says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.dialect import UNKNOWN_MEMBERS
from services.kernel.envoy_contract import LeadReason
from services.quota.domain.admission.fitness import CONTEXT_WINDOW, MAX_OUTPUT, LeftOut
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.policies.denial import Denial
from services.quota.domain.routing.plan import ModelPlan, PlannedTarget
from services.quota.usecases.admit import Admitted
from services.quota.usecases.explain import Explain
from tests.worlds.quota import CENT_FACTS, PLAN, World, spend, target, tier

BLIND = replace(target("lab/dear"), lacks=frozenset({"images", "audio"}))
TOOLLESS = replace(target("lab/cheap"), lacks=frozenset({"tools"}))
SHORT = replace(target("lab/dear", max_output_tokens=1_000, window=1_000), is_output_known=True)


def world_of(*targets: PlannedTarget, model: ModelPlan | None = None) -> World:
    world = World((spend("budget", 100_000),))
    known = dict(PLAN.targets) | {each.name: each for each in targets}
    model = model or ModelPlan("m", (tier(0, "lab/dear", "lab/cheap"),))
    world.live.set_plan(replace(PLAN, version="plan-2", models={"m": model}, targets=known))
    return world


def needing(*features: str) -> RequestFacts:
    return replace(CENT_FACTS, features=frozenset(features))


def chain(admitted: Admitted) -> tuple[str, ...]:
    return admitted.reservation.chain


def test_a_target_that_lacks_what_the_call_needs_is_left_out_and_the_call_says_so() -> None:
    world = world_of(BLIND)
    seeing, plain = world.let("m", needing("images")), world.let("m", request_id="2")
    assert chain(seeing) == ("lab/cheap",)
    assert seeing.lead_reason is LeadReason.UNFIT
    assert seeing.admission.left_out == (LeftOut("lab/dear", ("images",)),)
    assert chain(plain) == ("lab/dear", "lab/cheap")
    assert (plain.lead_reason, plain.admission.left_out) == (None, ())


def test_it_holds_no_room_for_what_is_left_out() -> None:
    world = world_of(BLIND)
    world.let("m", needing("images"))
    cheap = world.level("budget")[1]
    world.let("m", needing("thinking"), request_id="2")
    assert world.level("budget")[1] - cheap > cheap


def test_a_fallback_that_lacks_something_is_left_out_without_a_downgrade() -> None:
    admitted = world_of(TOOLLESS).let("m", needing("tools"))
    assert chain(admitted) == ("lab/dear",)
    assert admitted.lead_reason is None
    assert admitted.admission.left_out == (LeftOut("lab/cheap", ("tools",)),)


def test_a_call_that_no_target_carries_is_refused_with_what_each_lacks() -> None:
    deny = world_of(BLIND, TOOLLESS).refused("m", needing("images", "tools"))
    assert (deny.denial, deny.model) == (Denial.NO_FIT_TARGET, "m")
    assert deny.detail == "lab/dear carries no images, lab/cheap carries no tools"
    tools = world_of(replace(BLIND, lacks=TOOLLESS.lacks), TOOLLESS).refused("m", needing("tools"))
    assert tools.parameter == "tools"


def test_a_tier_without_a_fit_target_is_passed_over_and_the_budget_is_not_the_reason() -> None:
    plan = ModelPlan("m", (tier(0, "lab/dear"), tier(7_500, "lab/cheap")))
    admitted = world_of(BLIND, model=plan).let("m", needing("audio", "images"))
    assert chain(admitted) == ("lab/cheap",)
    assert admitted.lead_reason is LeadReason.UNFIT
    assert admitted.admission.left_out == (LeftOut("lab/dear", ("audio", "images")),)


def test_when_the_budget_leads_it_stays_the_reason() -> None:
    plan = ModelPlan("m", (tier(0, "lab/dear"), tier(7_500, "lab/cheap")))
    world = world_of(BLIND, model=plan)
    world.settle(world.let("m"), 80_000 * 10_000_000)
    assert world.let("m", needing("images"), request_id="2").lead_reason is LeadReason.BUDGET


def test_thinking_that_fills_what_a_model_writes_makes_it_unfit() -> None:
    world = world_of(SHORT)
    admitted = world.let("m", replace(CENT_FACTS, thinking_tokens=1_000, max_output_tokens=2_000))
    assert chain(admitted) == ("lab/cheap",)
    assert admitted.admission.left_out == (LeftOut("lab/dear", (MAX_OUTPUT,)),)
    fits = world.let("m", replace(CENT_FACTS, thinking_tokens=999, max_output_tokens=2_000), request_id="2")
    assert chain(fits) == ("lab/dear", "lab/cheap")


def test_a_bound_that_the_gateway_only_guessed_makes_nobody_unfit() -> None:
    world = world_of(replace(SHORT, is_output_known=False))
    assert chain(world.let("m", replace(CENT_FACTS, thinking_tokens=1_000)))[0] == "lab/dear"


@pytest.mark.parametrize(("body_bytes", "first"), [(8_000, "lab/dear"), (9_000, "lab/cheap")])
def test_a_text_far_longer_than_the_context_window_goes_elsewhere(body_bytes: int, first: str) -> None:
    admitted = world_of(SHORT).let("m", replace(CENT_FACTS, body_bytes=body_bytes))
    assert chain(admitted)[0] == first
    assert admitted.admission.left_out == (() if first == "lab/dear" else (LeftOut("lab/dear", (CONTEXT_WINDOW,)),))


def test_if_the_text_seems_too_long_for_all_only_their_providers_know() -> None:
    short = replace(SHORT, name="lab/cheap")
    admitted = world_of(SHORT, short).let("m", replace(CENT_FACTS, body_bytes=9_000))
    assert chain(admitted) == ("lab/dear", "lab/cheap")


def test_a_face_that_carries_only_what_the_gateway_knows_gets_no_unknown_member() -> None:
    strict = replace(BLIND, lacks=frozenset({UNKNOWN_MEMBERS}))
    admitted = world_of(strict).let("m", replace(CENT_FACTS, unknown_members=("frobnicate",)))
    assert chain(admitted) == ("lab/cheap",)


def test_a_leader_without_a_price_is_told_from_one_that_is_unfit() -> None:
    plan = ModelPlan("m", (tier(0, "lab/unpriced", "lab/cheap"),))
    assert world_of(model=plan).let("m").lead_reason is LeadReason.UNPRICED


def test_an_explanation_names_what_is_left_out() -> None:
    world = world_of(BLIND)
    ask = Explain(live=world.live, counters=world.counters, recent=world.recent, clock=world.clock)
    told = ask("ds-prod", "m", facts=needing("images"))
    assert (told.downgraded, told.target) == (True, "lab/cheap")
    assert told.reason == (
        "Goes to lab/cheap: the target that would lead cannot carry such a call. Left out: lab/dear carries no images."
    )
    refused = ask("ds-prod", "m", facts=needing("images", "tools"))
    assert refused.deny is None
