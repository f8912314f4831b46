"""Calls that try a slot which is not well, among those that go to the fallback."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.envoy_contract import LeadReason
from services.quota.domain.policies.denial import Denial
from services.quota.domain.routing.plan import ChainSlot, ModelPlan, Probe, WeightedTarget
from services.quota.usecases.explain import Explain
from tests.worlds.quota import CENT, PLAN, World, spend, tier

SICK = replace(
    tier(0, "lab/cheap", "lab/dear"),
    lead_reason=LeadReason.ERRORS,
    probes=(Probe(ChainSlot((WeightedTarget("lab/dear"),)), 2_000),),
)


def world_of(cents: int) -> World:
    world = World((spend("budget", cents),))
    world.live.set_plan(replace(PLAN, version="plan-2", models={"sick": ModelPlan("sick", (SICK,))}))
    return world


def test_one_call_in_the_interval_tries_the_slot_and_the_others_do_not() -> None:
    world = world_of(1_000)
    chains: list[str] = []
    for _ in range(3):
        chains.extend(world.let("sick", request_id=str(len(chains))).reservation.chain[0] for _ in range(4))
        world.clock.advance(1_000)
    assert [at for at, first in enumerate(chains) if first == "lab/dear"] == [0, 8]


def test_a_probe_is_followed_by_the_fallback_and_is_no_downgrade() -> None:
    world = world_of(1_000)
    probe, other = world.let("sick"), world.let("sick", request_id="2")
    assert probe.reservation.chain == ("lab/dear", "lab/cheap")
    assert probe.lead_reason is None
    assert other.reservation.chain == ("lab/cheap", "lab/dear")
    assert other.lead_reason is LeadReason.ERRORS


def test_a_call_whose_turn_it_is_but_that_cannot_afford_the_slot_goes_to_the_fallback() -> None:
    world = world_of(1)
    world.settle(world.let("sick"), CENT // 2)
    world.clock.advance(10_000)
    assert world.let("sick", request_id="2").reservation.chain[0] == "lab/cheap"


def test_an_explanation_takes_no_turn() -> None:
    world = world_of(1_000)
    ask = Explain(live=world.live, counters=world.counters, recent=world.recent, clock=world.clock)
    explanation = ask("ds-prod", "sick")
    assert explanation.target == "lab/cheap"
    assert "attempts at the target that would lead fail" in explanation.reason
    assert world.let("sick").reservation.chain[0] == "lab/dear"


def test_a_budget_that_is_spent_refuses_a_probe_as_well() -> None:
    world = world_of(1)
    world.settle(world.let("sick"), CENT)
    world.clock.advance(10_000)
    assert world.refused("sick").denial is Denial.BUDGET_EXHAUSTED
