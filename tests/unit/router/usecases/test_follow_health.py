"""From attempts to the plan that quota gets, and back."""

from __future__ import annotations

import pytest

from services.kernel.change import OWNER
from services.kernel.envoy_contract import LeadReason
from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.model import Condition, Measure, Term
from services.router.domain.switch import Direction, Switch
from services.router.usecases.attempt_log import HOLD_MS, AttemptLog, Report
from services.router.usecases.follow_health import FollowHealth
from tests.worlds.router import Router, fallback, group, lab, model

SICK = Condition((Term(Measure.ERROR_RATE, 2_000, 10),))


class World:
    def __init__(self) -> None:
        self.router = Router()
        self.reported: list[Switch] = []
        self.log = AttemptLog(self.router.clock, report_every_ms=2_000, observers=[self.router.health.observe])
        self.follow = FollowHealth(self.log, self.router.health, self.router.administrator, report=self.reported.append)
        self.apply()

    def apply(self, *, when: Condition = SICK) -> None:
        route = model("m", "lab/first", fallbacks=(fallback("lab/second", when=when),))
        self.router.administrator.apply([lab()], [route], validate_only=False, by=OWNER)

    def attempts(self, outcome: Outcome, count: int, target: str = "lab/first", retry_after_ms: int = 0) -> None:
        """One attempt a second, each of which ends at once."""
        for _ in range(count):
            now_ms = self.router.clock.now_ms()
            one = Attempt(target, now_ms, 0, 0, outcome, retry_after_ms=retry_after_ms)
            self.log.take([Report(str(now_ms), one)])
            self.router.clock.advance(1_000)
            self.follow()

    @property
    def chain(self) -> list[str]:
        (plan,) = self.router.administrator.plans
        return [one.target for slot in plan.tiers[0].chain for one in slot.targets]


@pytest.fixture
def world() -> World:
    return World()


def test_a_switch_is_told_once_in_each_direction(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.attempts(Outcome.FAILED, 20)
    assert world.chain == ["lab/second", "lab/first"]
    world.attempts(Outcome.SERVED, 10)
    assert world.chain == ["lab/first", "lab/second"]
    left, returned = world.reported
    assert list(world.follow.switches) == world.reported
    first, second = group("lab/first"), group("lab/second")
    assert (left.came_from, left.goes_to, left.direction) == (first, second, Direction.LEFT)
    assert (returned.came_from, returned.goes_to) == (second, first)
    assert returned.direction is Direction.RETURNED
    assert left.reason is returned.reason is LeadReason.ERRORS
    assert left.figures[0].bad == 5
    lines = [record.message for record in caplog.records if record.name == "spendgate.router.health"]
    assert lines == [str(left), str(returned)]
    assert "5 of 5 attempts failed within 10 s" in lines[0]


def test_another_application_of_the_same_configuration_keeps_what_is_known(world: World) -> None:
    world.attempts(Outcome.FAILED, 10)
    world.apply()
    assert world.chain == ["lab/second", "lab/first"]
    world.apply(when=Condition((Term(Measure.ERROR_RATE, 5_000, 10),)))
    assert world.chain == ["lab/first", "lab/second"]


def test_a_validated_configuration_changes_nothing_about_what_is_known(world: World) -> None:
    world.attempts(Outcome.FAILED, 10)
    administrator = world.router.administrator
    administrator.apply([lab()], [model("other", "lab/first")], validate_only=True, by=OWNER)
    world.attempts(Outcome.FAILED, 1)
    assert world.chain == ["lab/second", "lab/first"]


def test_a_provider_that_asks_to_stay_away_gets_no_call_for_as_long(world: World) -> None:
    world.attempts(Outcome.FAILED, 1, retry_after_ms=30_000)
    assert world.chain == ["lab/second"]
    world.router.clock.advance(28_000)
    world.follow()
    assert world.chain == ["lab/second"]
    world.router.clock.advance(2_000)
    world.follow()
    assert world.chain == ["lab/first", "lab/second"]
    assert world.reported == []


def test_without_news_no_plan_is_made(world: World) -> None:
    plans = world.router.administrator.plans
    world.attempts(Outcome.SERVED, 20)
    world.router.clock.advance(HOLD_MS)
    world.follow()
    assert world.router.administrator.plans is plans


def test_the_history_is_bounded(world: World) -> None:
    assert world.follow.switches.maxlen == 100
