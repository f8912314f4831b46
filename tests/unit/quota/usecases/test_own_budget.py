from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.counters.counter import Level
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode
from services.quota.usecases.limit_levels import LimitLevel
from services.quota.usecases.own_budget import ReadOwnBudget
from tests.worlds.quota import CENT, SECRET, World, counting, spend


def own(world: World, run: str = "", credential: str = SECRET) -> tuple[LimitLevel, ...]:
    read = ReadOwnBudget(authenticate=world.authenticate, counters=world.counters, clock=world.clock)
    told = read(credential, run)
    assert not isinstance(told, Deny), told
    return told


def scopes(told: tuple[LimitLevel, ...]) -> list[tuple[str, str]]:
    return [(each.limit.counter.policy, each.limit.counter.scope) for each in told]


def test_the_limits_of_a_key_are_reported_tightest_first_with_what_is_used_and_held() -> None:
    world = World((spend("roomy", 100), spend("tight", 4), counting("calls", LimitKind.REQUESTS, 10)))
    world.settle(world.let(), CENT // 10)
    world.let()

    told = own(world)

    assert [(each.limit.counter.policy, each.level) for each in told] == [
        ("tight", Level(CENT // 10, CENT)),
        ("calls", Level(1, 1)),
        ("roomy", Level(CENT // 10, CENT)),
    ]


def test_a_key_reads_its_own_scope_and_nobody_elses() -> None:
    each = replace(spend("every-key", 1), each=Dimension.KEY)
    others = spend("of-another", 1, match=Match(key="another"))

    assert scopes(own(World((each, others)))) == [("every-key", "key=ds-prod")]


def test_what_binds_nobody_is_not_reported() -> None:
    find_rule, off = replace(spend("watch", 1), mode=Mode.SHADOW), replace(spend("off", 1), mode=Mode.DISABLED)
    dear_calls = replace(spend("dear", 1), limits=(Limit(LimitKind.REQUEST_COST, CENT, WindowUnit.LIFETIME),))

    assert own(World((find_rule, off, dear_calls))) == ()


def test_limits_on_models_are_reported_for_each_model_that_the_key_may_use() -> None:
    world = World((replace(spend("every-model", 1), each=Dimension.MODEL), spend("dear", 1, match=Match(model="dear"))))
    world.change_key(models=("dear", "claude"))

    told = own(world)

    assert sorted(scopes(told)) == [
        ("dear", "model=dear"),
        ("every-model", "model=claude"),
        ("every-model", "model=dear"),
    ]


def test_the_limits_per_run_are_those_of_the_run_that_is_named() -> None:
    world = World((spend("a-run", 1, WindowUnit.RUN),))

    assert own(world) == ()
    assert scopes(own(world, run="r7")) == [("a-run", "run=r7")]


def test_it_is_reported_at_a_budget_of_zero() -> None:
    world = World((spend("none", 0),))
    world.refused()

    assert scopes(own(world)) == [("none", "organization")]


@pytest.mark.parametrize(
    ("credential", "changes", "denial"),
    [
        ("", {}, Denial.MISSING_KEY),
        ("another-secret-of-some-length", {}, Denial.INVALID_KEY),
        (SECRET, {"disabled": True}, Denial.DISABLED_KEY),
        (SECRET, {"expire_at_ms": 1}, Denial.EXPIRED_KEY),
    ],
)
def test_who_has_no_key_is_told_so(credential: str, changes: dict[str, object], denial: Denial) -> None:
    world = World((spend("budget", 1),))
    world.change_key(**changes)
    read = ReadOwnBudget(authenticate=world.authenticate, counters=world.counters, clock=world.clock)

    told = read(credential)

    assert isinstance(told, Deny)
    assert told.denial is denial
