from __future__ import annotations

from services.quota.domain.denial import Denial, Deny
from services.quota.usecases.authenticate import ListModels
from tests.unit.quota.world import SECRET, World, spend


def test_a_key_sees_the_models_of_the_plan_that_it_may_use() -> None:
    world = World((spend("empty", 0),))
    listing = ListModels(world.current, world.authenticate)

    assert listing(SECRET) == ("chained", "claude", "dear", "keyless", "tiered", "unpriced")

    world.change_key(models=("dear", "not-in-the-plan"))
    assert listing(SECRET) == ("dear",)


def test_without_a_key_no_model_is_seen() -> None:
    world = World()

    assert ListModels(world.current, world.authenticate)("") == Deny(Denial.MISSING_KEY)
