"""From attempts and operators to the plan that quota gets, and to the switches that people are told of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from services.kernel.change import OWNER
from services.kernel.clock import ManualClock
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import Unavailable
from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.model import Condition, Measure, Term
from services.router.domain.switch import Direction, NamedSwitch, Switch
from services.router.usecases.attempt_log import HOLD_MS, AttemptLog, Report
from services.router.usecases.follow_health import FollowHealth
from services.router.usecases.note_switches import ReportSwitches
from tests.worlds.router import Router, fallback, group, lab, model

SICK = Condition((Term(Measure.ERROR_RATE, 2_000, 10),))
FIRST, SECOND = group("lab/first"), group("lab/second")


class Ledger:
    """Takes reports, and refuses as many of them as a test wants."""

    def __init__(self) -> None:
        self.taken: list[NamedSwitch] = []
        self.refusals = 0

    def report(self, switches: Sequence[NamedSwitch]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("the ledger is away")
        self.taken += switches


class World:
    def __init__(self, engine: sa.Engine | None = None, clock: ManualClock | None = None) -> None:
        self.router = Router(engine, clock=clock)
        self.reported: list[Switch] = []
        self.ledger = Ledger()
        self.log = AttemptLog(self.router.clock, report_every_ms=2_000, observers=[self.router.health.observe])
        self.follow = FollowHealth(
            self.log, self.router.health, self.router.administrator, self.router.note_switches, self.reported.append
        )
        self.report = ReportSwitches(self.router.store, self.ledger)
        if engine is None:
            self.apply()
        self.follow()

    def restarted(self) -> World:
        """Another process over the same database."""
        return World(self.router.engine, self.router.clock)

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

    @property
    def told(self) -> list[tuple[Direction, str, str, LeadReason]]:
        return [
            (each.direction, each.came_from.targets[0].target, each.goes_to.targets[0].target, each.reason)
            for each in self.reported
        ]


@pytest.fixture
def world() -> World:
    return World()


def left(reason: LeadReason) -> tuple[Direction, str, str, LeadReason]:
    return Direction.LEFT, "lab/first", "lab/second", reason


def returned(reason: LeadReason) -> tuple[Direction, str, str, LeadReason]:
    return Direction.RETURNED, "lab/second", "lab/first", reason


def test_a_switch_is_told_once_in_each_direction(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.attempts(Outcome.FAILED, 20)
    assert world.chain == ["lab/second", "lab/first"]
    world.attempts(Outcome.SERVED, 10)
    assert world.chain == ["lab/first", "lab/second"]
    away, back = world.reported
    assert list(world.follow.switches) == world.reported
    assert (away.came_from, away.goes_to, away.direction) == (FIRST, SECOND, Direction.LEFT)
    assert (back.came_from, back.goes_to, back.direction) == (SECOND, FIRST, Direction.RETURNED)
    assert away.reason is back.reason is LeadReason.ERRORS
    assert away.figures[0].bad == 5
    lines = [record.message for record in caplog.records if record.name == "spendgate.router.health"]
    assert lines == [str(away), str(back)]
    assert "5 of 5 attempts failed within 10 s" in lines[0]


def test_another_application_of_the_same_configuration_keeps_what_is_known(world: World) -> None:
    world.attempts(Outcome.FAILED, 10)
    world.apply()
    assert world.chain == ["lab/second", "lab/first"]
    world.apply(when=Condition((Term(Measure.ERROR_RATE, 5_000, 10),)))
    assert world.chain == ["lab/first", "lab/second"]
    world.follow()
    assert world.told == [left(LeadReason.ERRORS), returned(LeadReason.ERRORS)]


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
    # A provider may ask for seconds again and again.
    assert world.reported == []


def test_a_provider_that_asks_for_a_minute_is_worth_a_word_each_way(world: World) -> None:
    world.attempts(Outcome.FAILED, 1, retry_after_ms=60_000)
    world.router.clock.advance(30_000)
    world.follow()
    assert world.told == [left(LeadReason.RETRY_AFTER)]
    world.router.clock.advance(30_000)
    world.follow()
    assert world.told == [left(LeadReason.RETRY_AFTER), returned(LeadReason.RETRY_AFTER)]


def test_an_operator_who_drains_the_first_target_makes_a_switch_each_way(world: World) -> None:
    world.router.drain.drain("lab/first", force=False, by=OWNER)
    world.follow()
    world.follow()
    assert world.told == [left(LeadReason.DRAINED)]
    world.router.drain.undrain("lab/first", by=OWNER)
    world.follow()
    assert world.told == [left(LeadReason.DRAINED), returned(LeadReason.DRAINED)]


def test_a_target_that_does_not_lead_makes_no_switch(world: World) -> None:
    world.router.drain.drain("lab/second", force=False, by=OWNER)
    world.follow()
    assert world.reported == []


def test_a_model_whose_last_target_is_drained_by_force_is_led_by_nobody(world: World) -> None:
    world.router.drain.drain("lab/first", force=False, by=OWNER)
    world.follow()
    world.router.drain.drain("lab/second", force=True, by=OWNER)
    world.follow()
    world.router.drain.undrain("lab/second", by=OWNER)
    world.follow()
    assert world.told == [left(LeadReason.DRAINED)]


def test_a_restart_changes_neither_who_leads_nor_what_is_told(world: World) -> None:
    world.attempts(Outcome.FAILED, 20)
    after = world.restarted()
    assert after.chain == ["lab/second", "lab/first"]
    after.attempts(Outcome.FAILED, 20)
    assert after.reported == []
    after.attempts(Outcome.SERVED, 10)
    assert after.chain == ["lab/first", "lab/second"]
    assert after.told == [returned(LeadReason.ERRORS)]
    assert after.restarted().reported == []


def test_a_restart_forgets_neither_drains_nor_what_a_provider_asked_for(world: World) -> None:
    world.attempts(Outcome.FAILED, 1, retry_after_ms=60_000)
    after = world.restarted()
    assert after.chain == ["lab/second"]
    after.router.clock.advance(60_000)
    after.follow()
    assert after.told == [returned(LeadReason.RETRY_AFTER)]


def test_the_ledger_gets_each_switch_once_however_often_it_is_away(world: World) -> None:
    world.ledger.refusals = 2
    world.attempts(Outcome.FAILED, 20)
    for _ in range(2):
        with pytest.raises(Unavailable):
            world.report()
    after = world.restarted()
    after.report()
    after.report()
    (taken,) = after.ledger.taken
    assert taken.switch == world.reported[0]
    after.attempts(Outcome.SERVED, 10)
    after.report()
    assert [each.switch.direction for each in after.ledger.taken] == [Direction.LEFT, Direction.RETURNED]
    assert len({each.id for each in after.ledger.taken}) == 2


def test_a_report_that_got_no_answer_is_repeated_under_its_id(world: World) -> None:
    world.attempts(Outcome.FAILED, 20)
    (first,) = world.router.store.unreported_switches(10)
    world.restarted()
    assert world.router.store.unreported_switches(10) == [first]


def test_without_news_no_plan_is_made(world: World) -> None:
    plans = world.router.administrator.plans
    world.attempts(Outcome.SERVED, 20)
    world.router.clock.advance(HOLD_MS)
    world.follow()
    assert world.router.administrator.plans is plans


def test_the_history_is_bounded(world: World) -> None:
    assert world.follow.switches.maxlen == 100
