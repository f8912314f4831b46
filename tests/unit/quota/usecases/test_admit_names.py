from __future__ import annotations

from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.policy import Match
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, World, spend


def test_a_call_by_another_name_of_a_model_counts_in_the_policies_of_that_model() -> None:
    world = World((spend("of-dear", 2, match=Match(model="dear")),))

    names = ["dear", "dear-2024-08-06", "dear-latest"]
    outcomes = [world.ask(name) for name in names]

    assert [outcome.reservation.model for outcome in outcomes if isinstance(outcome, Admitted)] == ["dear", "dear"]
    assert world.level("of-dear") == (0, 2 * CENT)


def test_another_name_opens_no_model_that_the_key_may_not_use() -> None:
    world = World()
    world.change_key(models=("tiered",))

    assert world.refused("dear-latest").denial is Denial.MODEL_NOT_ALLOWED
    assert isinstance(world.ask("tiered-latest"), Admitted)
