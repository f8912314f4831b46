from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import NotFound
from services.kernel.scope import Dimension
from services.quota.adapters.slices import Turns
from services.quota.domain.policies.policy import Match, Mode
from services.quota.usecases.budgets import ListBudgets
from tests.worlds.quota import CENT, World, spend


def budgets_of(world: World) -> ListBudgets:
    return ListBudgets(live=world.live, counters=world.counters, clock=world.clock, turns=Turns())


def test_a_limit_that_nobody_used_is_listed_at_zero() -> None:
    world = World((spend("budget", 5, match=Match(team="data-science", environment="prod")),))

    (budget,) = budgets_of(world)()

    assert (budget.policy, budget.scope) == ("budget", "team=data-science,environment=prod")
    assert (budget.limit, budget.settled, budget.reserved) == (5 * CENT, 0, 0)
    assert budget.window_start_ms <= world.clock.now_ms() < budget.resets_at_ms


def test_what_is_used_and_held_is_listed_until_the_window_ends() -> None:
    world = World((spend("budget", 5),))
    world.settle(world.let(), CENT)
    world.let()

    (budget,) = budgets_of(world)()
    assert (budget.settled, budget.reserved) == (CENT, CENT)

    world.clock.advance(budget.resets_at_ms - world.clock.now_ms())
    (following,) = budgets_of(world)()
    assert (following.settled, following.reserved) == (0, 0)
    assert following.window_start_ms == budget.resets_at_ms


def test_each_value_has_a_budget_of_its_own_also_of_keys_that_are_gone() -> None:
    world = World((replace(spend("users", 5), each=Dimension.USER), replace(spend("models", 5), each=Dimension.MODEL)))
    world.let()
    world.change_key(attribution=replace(world.key.attribution, user="eve@example.com"))

    listed = {(budget.policy, budget.scope): budget.reserved for budget in budgets_of(world)()}

    assert listed["users", "user=ada@example.com"] == CENT
    assert listed["users", "user=eve@example.com"] == 0
    assert listed["models", "model=dear"] == CENT
    assert listed["models", "model=tiered"] == 0


def test_the_list_can_be_of_one_policy_and_leaves_disabled_ones_out() -> None:
    world = World((spend("b", 5), spend("a", 5), replace(spend("off", 5), mode=Mode.DISABLED)))

    assert [budget.policy for budget in budgets_of(world)()] == ["a", "b"]
    assert [budget.policy for budget in budgets_of(world)("b")] == ["b"]
    with pytest.raises(NotFound):
        budgets_of(world)("nobody")
