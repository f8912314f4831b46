from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.clock import ManualClock
from services.router.domain.attempt import Attempt, Outcome
from services.router.usecases.attempt_log import HOLD_MS, AttemptLog, Report

START_MS = 1_800_000_000_000
SERVED = Attempt("lab/tiny", START_MS, 10, 5, Outcome.SERVED)
OPEN = Attempt("lab/tiny", START_MS, 2_000, None, Outcome.OPEN)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock(START_MS)
        self.told: list[Attempt] = []
        self.log = AttemptLog(self.clock, report_every_ms=2_000, observers=[self.told.append])

    def take(self, attempt: Attempt, request_id: str = "r1") -> None:
        self.log.take([Report(request_id, attempt)])

    def pass_time(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)
        self.log.tick()


@pytest.fixture
def world() -> World:
    return World()


def test_a_failure_counts_at_once_and_a_good_answer_once_nothing_speaks_against_it(world: World) -> None:
    world.take(replace(SERVED, outcome=Outcome.FAILED))
    world.take(SERVED, "r2")
    assert [each.outcome for each in world.told] == [Outcome.FAILED]
    world.pass_time(HOLD_MS - 1)
    assert len(world.told) == 1
    world.pass_time(1)
    assert [each.outcome for each in world.told] == [Outcome.FAILED, Outcome.SERVED]


def test_a_broken_answer_is_a_failure_of_its_own_attempt(world: World) -> None:
    world.take(SERVED, "r1")
    world.take(SERVED, "r2")
    world.log.broke("r2")
    world.log.broke("unheard of")
    world.pass_time(HOLD_MS)
    assert sorted(each.outcome for each in world.told) == [Outcome.FAILED, Outcome.SERVED]


def test_an_attempt_that_lasts_is_told_again_and_again_with_what_was_told_before(world: World) -> None:
    world.clock.advance(2_000)
    world.take(OPEN)
    world.pass_time(250)
    world.pass_time(250)
    assert [(each.took_ms, each.reported_ms, each.reported_waiting_ms) for each in world.told] == [
        (2_000, 0, 0), (2_250, 2_000, 2_000), (2_500, 2_250, 2_250),
    ]  # fmt: skip
    assert {each.waited_ms - each.took_ms for each in world.told} == {0}


def test_the_end_of_an_attempt_that_lasted_knows_what_was_told(world: World) -> None:
    world.clock.advance(2_000)
    world.take(OPEN)
    world.clock.advance(1_000)
    world.take(replace(OPEN, took_ms=3_000, first_byte_ms=2_900, outcome=Outcome.SERVED))
    world.pass_time(HOLD_MS)
    assert len(world.told) == 2
    end = world.told[-1]
    assert (end.outcome, end.took_ms, end.reported_ms, end.reported_waiting_ms) == (Outcome.SERVED, 3_000, 2_000, 2_000)


def test_an_attempt_whose_end_is_lost_is_forgotten(world: World) -> None:
    world.clock.advance(2_000)
    world.take(OPEN)
    world.pass_time(6_001)
    assert len(world.told) == 1
