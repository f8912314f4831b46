"""What thresholds do before the limit is reached, and which calls default policies apply to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.policy import Match, Mode, Threshold, ThresholdAction
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, World, counting, spend


def served_by(admitted: Admitted) -> list[str]:
    return [attempt.fit.target.name for attempt in admitted.chain]


def test_a_threshold_can_degrade_before_the_model_itself_would() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(2_000, action=ThresholdAction.DEGRADE),))
    world = World((policy,))
    first, second = world.let("tiered", request_id="1"), world.let("tiered", request_id="2")
    assert served_by(first) == served_by(second) == ["lab/dear"]

    world.settle(first, CENT)
    assert not world.let("tiered", request_id="3").downgraded
    world.settle(second, CENT)
    third = world.let("tiered", request_id="4")
    assert (served_by(third), third.downgraded) == (["lab/cheap"], True)


def test_a_model_without_a_cheaper_tier_stays_as_it_is() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(1, action=ThresholdAction.DEGRADE),))
    world = World((policy,))
    world.settle(world.let(), CENT)

    assert served_by(world.let()) == ["lab/dear"]


def test_a_shadow_policy_degrades_nothing() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(1, action=ThresholdAction.DEGRADE),), mode=Mode.SHADOW)
    world = World((policy,))
    world.settle(world.let("tiered"), CENT)

    assert not world.let("tiered").downgraded


def test_a_threshold_can_deny_before_the_limit() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(3_999, action=ThresholdAction.DENY),))
    world = World((policy,))
    for _ in range(3):
        world.settle(world.let(), CENT)

    refused = world.refused()
    assert refused.denial is Denial.BUDGET_EXHAUSTED
    assert (refused.used, refused.limit) == (3 * CENT, 10 * CENT * 3_999 // 10_000)


@pytest.mark.parametrize(("mode", "applies"), [(Mode.ENFORCE, False), (Mode.SHADOW, True), (Mode.DISABLED, True)])
def test_a_default_policy_steps_back_when_an_enforced_one_applies_to_the_call(mode: Mode, applies: bool) -> None:
    default = replace(counting("default", LimitKind.REQUESTS, 0), default=True)
    own = replace(counting("own", LimitKind.REQUESTS, 5, WindowUnit.MONTH), mode=mode)

    assert World((default,)).refused().policy == "default"
    outcome = World((default, own)).ask()
    assert isinstance(outcome, Admitted) is not applies


def test_a_default_policy_counts_each_of_the_others_apart() -> None:
    default = replace(counting("default", LimitKind.REQUESTS, 1), each=Dimension.TEAM, default=True)
    other = replace(counting("other", LimitKind.REQUESTS, 5), match=Match(team="data-science", environment="dev"))
    world = World((default, other))
    world.let()

    assert world.refused().scope == "team=data-science"
