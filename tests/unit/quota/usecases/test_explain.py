from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import NotFound
from services.kernel.limit_kind import LimitKind
from services.quota.domain.policies.denial import Denial
from services.quota.usecases.explain import Explain, Explanation
from tests.worlds.quota import CENT, World, counting, spend


def explain(world: World, model: str = "dear", key: str = "ds-prod") -> Explanation:
    ask = Explain(
        live=world.live,
        counters=world.counters,
        recent=world.recent,
        clock=world.clock,
    )
    return ask(key, model)


def test_a_call_with_room_is_allowed_and_reserves_nothing() -> None:
    world = World((spend("roomy", 100), spend("tight", 2)))
    world.settle(world.let(), CENT)

    explanation = explain(world)

    assert explanation.deny is None
    assert not explanation.downgraded
    assert explanation.target == "lab/dear"
    assert [(limit.policy, limit.used_basis_points, limit.binding) for limit in explanation.limits] == [
        ("tight", 5_000, True),
        ("roomy", 100, False),
    ]
    assert world.counters.open_count() == 0


def test_a_call_over_its_threshold_is_downgraded_and_the_limit_that_does_it_is_named() -> None:
    world = World((spend("budget", 10), counting("calls", LimitKind.REQUESTS, 100)))
    world.settle(world.let("tiered"), 8 * CENT)

    explanation = explain(world, "tiered")

    assert explanation.downgraded
    assert explanation.target == "lab/cheap"
    assert [limit.policy for limit in explanation.limits if limit.binding] == ["budget"]
    assert "75 %" in explanation.reason


def test_a_refusal_names_its_limit() -> None:
    world = World((spend("budget", 1), spend("roomy", 100)))
    world.settle(world.let(), CENT)

    explanation = explain(world)

    assert explanation.deny is not None
    assert explanation.deny.denial is Denial.BUDGET_EXHAUSTED
    assert explanation.target == ""
    assert explanation.reason == "Refused by policy budget, budget exhausted."
    assert [limit.policy for limit in explanation.limits if limit.binding] == ["budget"]


def test_what_does_not_depend_on_limits_is_reported_too() -> None:
    world = World((spend("budget", 100),))

    for model, denial in (
        ("unpriced", Denial.UNPRICED_MODEL),
        ("no-such", Denial.MODEL_NOT_FOUND),
        ("keyless", Denial.UPSTREAM_UNAVAILABLE),
    ):
        explanation = explain(world, model)
        assert explanation.deny is not None
        assert explanation.deny.denial is denial

    world.change_key(disabled=True)
    stopped = explain(world)
    assert stopped.deny is not None
    assert stopped.deny.denial is Denial.DISABLED_KEY


def test_a_model_that_only_another_dialect_reaches_is_explained_in_that_dialect() -> None:
    assert explain(World(), "claude").target == "lab/claude"


def test_an_unknown_key_cannot_be_explained() -> None:
    with pytest.raises(NotFound):
        explain(World(), key="nobody")


def test_what_happens_without_the_counter_store_is_reported_with_every_allowance() -> None:
    world = World(
        (replace(spend("a", 100), allowance_nano_usd=20 * CENT), replace(spend("b", 9), allowance_nano_usd=1))
    )
    told = explain(world).on_store_failure
    assert told.endswith("today's allowance of policy a and b pays the most that the call can cost.")
    assert explain(World((spend("a", 1),))).on_store_failure == "If the counter store fails, quota refuses the call."


def test_what_happens_to_members_that_nobody_knows_is_reported_with_the_policy() -> None:
    careful = replace(spend("careful", 100), refuses_unknown_members=True)
    assert explain(World((spend("a", 1), careful))).on_unknown_members.endswith("policy careful refuses it.")
    assert explain(World((spend("a", 1),))).on_unknown_members.endswith("it holds the context window of its target.")
    calls = counting("calls", LimitKind.REQUESTS, 9)
    assert explain(World((calls,))).on_unknown_members.endswith("no hard limit counts its size.")


def test_it_says_which_policies_would_keep_doubt_of_the_call() -> None:
    trusting = replace(spend("b", 1), estimates_unmeasured=True)
    calls = counting("calls", LimitKind.REQUESTS, 1)
    assert explain(World((spend("a", 1), trusting, calls))).on_unmeasured.endswith("stays reserved by policy a.")
    assert explain(World((trusting, calls))).on_unmeasured.endswith("only the estimate of what it took counts.")
    assert explain(World((calls,))).on_unmeasured.endswith("no hard limit counts its size.")
