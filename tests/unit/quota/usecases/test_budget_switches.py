from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import Unavailable
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.usecases.budget_switches import BudgetSwitch, TellBudgetSwitches
from tests.worlds.quota import CENT, CENT_FACTS, World, spend

DEAR, CHEAP = ("lab/dear",), ("lab/cheap",)
MONTH_MS = 31 * 86_400_000


class Ledger:
    """Records each id once, as the ledger does."""

    def __init__(self) -> None:
        self.known: dict[str, BudgetSwitch] = {}
        self.is_away = False
        self.loses_answer = False

    def report(self, switches: list[BudgetSwitch]) -> None:
        if self.is_away:
            raise Unavailable("the ledger is away")
        for switch in switches:
            self.known.setdefault(switch.id, switch)
        if self.loses_answer:
            self.loses_answer = False
            raise Unavailable("the answer was lost")

    @property
    def story(self) -> list[tuple[tuple[str, ...], bool]]:
        return [(switch.targets, switch.is_return) for switch in self.known.values()]


def policy(cents: int) -> QuotaPolicy:
    return spend("ds", cents)


def a_spent_world(ledger: Ledger) -> tuple[World, TellBudgetSwitches]:
    """Of a dollar, 80 cents are used. A call was led to the cheaper target."""
    world = World((policy(100),))
    spend_cents(world, 80)
    world.let("tiered")
    return world, teller(world, ledger)


def spend_cents(world: World, cents: int) -> None:
    admitted = world.let("dear")
    world.settle(admitted, cents * CENT)


def teller(world: World, ledger: Ledger) -> TellBudgetSwitches:
    return TellBudgetSwitches(
        live=world.live, leads=world.recent.leads, counters=world.counters, receiver=ledger, clock=world.clock
    )


def put_in_force(world: World, *policies: QuotaPolicy) -> None:
    world.live.set_directory(replace(world.live.snapshot.directory.directory, policies=policies))


def test_a_tier_that_the_budget_reached_is_told_once() -> None:
    ledger = Ledger()
    world, tell = a_spent_world(ledger)
    for _ in range(3):
        tell()
        world.let("tiered")

    (switch,) = ledger.known.values()
    assert (switch.model, switch.from_basis_points) == ("tiered", 7_500)
    assert (switch.previous, switch.targets, switch.is_return) == (DEAR, CHEAP, False)
    assert "75 % of spend per month of policy ds" in switch.evidence


def test_below_the_tier_nothing_is_told() -> None:
    ledger, world = Ledger(), World((policy(100),))
    spend_cents(world, 50)
    world.let("tiered")
    teller(world, ledger)()
    assert ledger.story == []


@pytest.mark.parametrize("way", ["window", "raised", "removed", "shadowed"])
def test_the_way_back_is_told_once_without_any_call(way: str) -> None:
    ledger = Ledger()
    world, tell = a_spent_world(ledger)
    tell()
    if way == "window":
        world.clock.advance(MONTH_MS)
    elif way == "raised":
        put_in_force(world, policy(200))
    elif way == "removed":
        put_in_force(world)
    else:
        put_in_force(world, replace(policy(100), mode=Mode.SHADOW))
    for _ in range(3):
        tell()
    assert ledger.story == [(CHEAP, False), (DEAR, True)]


def test_a_limit_that_is_lowered_again_is_a_switch_of_its_own() -> None:
    ledger = Ledger()
    world, tell = a_spent_world(ledger)
    for cents in (100, 200, 100, 200):
        put_in_force(world, policy(cents))
        world.let("tiered")
        tell()
        tell()
    assert ledger.story == [(CHEAP, False), (DEAR, True)] * 2


def test_a_ledger_that_is_away_hears_of_it_later_and_a_lost_answer_makes_no_second_switch() -> None:
    ledger = Ledger()
    _, tell = a_spent_world(ledger)
    ledger.is_away = True
    with pytest.raises(Unavailable):
        tell()
    ledger.is_away, ledger.loses_answer = False, True
    with pytest.raises(Unavailable):
        tell()
    tell()
    assert ledger.story == [(CHEAP, False)]


def test_two_quotas_and_one_that_started_anew_tell_the_same_switch() -> None:
    ledger = Ledger()
    for _ in range(2):
        _, tell = a_spent_world(ledger)
        tell()
    assert ledger.story == [(CHEAP, False)]


def test_a_call_that_found_no_room_above_is_no_switch_of_the_model() -> None:
    """Its budget has not reached the cheaper tier: the next call may fit into the dear one."""
    ledger, world = Ledger(), World((policy(100),))
    spend_cents(world, 70)
    for _ in range(29):
        world.let("dear")
    admitted = world.let("tiered", replace(CENT_FACTS, max_output_tokens=4_000))
    assert admitted.chain[0].fit.target.name == "lab/cheap"
    teller(world, ledger)()
    assert ledger.story == []
