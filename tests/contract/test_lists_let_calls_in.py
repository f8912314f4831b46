"""However long a list is, calls get their decisions while it is made, and a page reads no more than it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.kernel.scope import Dimension
from services.quota.adapters.slices import Turns
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.identity.key import VirtualKey
from services.quota.ports.counters import Sum
from services.quota.usecases.budget_places import START, Position
from services.quota.usecases.budgets import Budget, ListBudgets
from services.quota.usecases.reconcile import Reconcile
from tests.worlds.counter_store_notes import open_file
from tests.worlds.holdings import lines_between_turns
from tests.worlds.quota import ADAS_KEY, World, spend

FEW, MANY = 1_000, 5_000
# At 50 to 100 ns each.
LINES = 15_000
PAGE = 100
USERS = replace(spend("users", 5), each=Dimension.USER)
PLAIN = spend("plain", 5)
TEAMS = replace(spend("teams", 5), each=Dimension.TEAM)
Work = Callable[[World], object]


def key_of(number: int) -> VirtualKey:
    who = replace(
        ADAS_KEY.attribution, key_id=f"key_{number}", key=f"key-{number}", user=f"user-{number:06d}@example.com"
    )
    return VirtualKey(who, digest=number.to_bytes(32, "big"), unlimited=True)


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Callable[[int], World]]:
    """Makes a world with so many users that have a key. As many others had one, and used it."""
    made = []

    def make(count: int) -> World:
        (tmp_path / str(count)).mkdir()
        file = open_file(tmp_path / str(count))
        made.append(file)
        counters = SqliteCounters(file.__enter__())
        world = World(counters=counters)
        world.change_policies((PLAIN, TEAMS, USERS), tuple(map(key_of, range(count))))
        (limit,) = USERS.limits
        window = limit.window.at(world.clock.now_ms())
        scopes = (f"user=former-{number:06d}@example.com" for number in range(count))
        keys = (CounterKey("users", limit.limit_id, scope, window.start_ms) for scope in scopes)
        counters.restore([Sum(key, window.retain_until_ms, 7) for key in keys])
        return world

    yield make
    for file in made:
        file.__exit__(None, None, None)


def budgets_of(world: World) -> ListBudgets:
    return ListBudgets(live=world.live, counters=world.counters, clock=world.clock, turns=Turns())


def position_of(budget: Budget) -> Position:
    return Position(budget.policy, budget.limit_id, budget.scope)


def first_page(world: World) -> object:
    return budgets_of(world)(limit=PAGE)


def largest_page(world: World) -> object:
    return budgets_of(world)(limit=1_000)


def page_of_a_team(world: World) -> object:
    return budgets_of(world)(team="another", limit=PAGE)


def all_counters(world: World) -> object:
    counters = world.counters
    reconcile = Reconcile(
        live=world.live,
        counters=counters,
        adjustments=counters,
        crossings=counters,
        recovery=counters,
        clock=world.clock,
    )
    return reconcile.list_counters()


@pytest.mark.parametrize("work", [first_page, largest_page, page_of_a_team, all_counters])
def test_a_long_list_lets_calls_in_between(
    many: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    most = []
    for count in (FEW, MANY):
        world = many(count)
        with lines_between_turns(monkeypatch) as lines:
            work(world)
        most.append(max(lines))

    assert sum(lines) > MANY
    assert most[1] <= LINES
    assert most[1] <= 1.2 * most[0] + 100


def test_a_further_page_reads_only_what_it_needs(many: Callable[[int], World], monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    for count in (FEW, MANY):
        budgets = budgets_of(many(count))
        last = position_of(budgets(limit=PAGE)[-1])
        with lines_between_turns(monkeypatch) as lines:
            budgets(after=last, limit=PAGE)
        read.append(sum(lines))

    assert read[1] <= 1.2 * read[0]


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_the_pages_of_a_list_have_each_budget_once_in_order(many: Callable[[int], World], size: int) -> None:
    count = 150 if size < PAGE else FEW
    world = many(count)
    budgets = budgets_of(world)
    found: list[Budget] = []
    after = START
    while page := budgets(after=after, limit=size):
        found += page
        after = position_of(page[-1])

    listed = [(budget.policy, budget.scope, budget.settled) for budget in found]
    users = [("users", f"user=former-{number:06d}@example.com", 7) for number in range(count)]
    users += [("users", f"user=user-{number:06d}@example.com", 0) for number in range(count)]
    assert listed == [("plain", "organization", 0), ("teams", "team=data-science", 0), *users]


def test_a_page_goes_on_at_its_place_whatever_changed_since(many: Callable[[int], World]) -> None:
    world = many(150)
    budgets = budgets_of(world)
    last = position_of(budgets(limit=50)[-1])
    expected = [position_of(each) for each in budgets(limit=1_000) if position_of(each) > last]

    world.change_policies((PLAIN, USERS), tuple(map(key_of, range(150))))
    assert [position_of(each) for each in budgets(after=last)] == expected

    assert [position_of(each) for each in budgets_of(world)(after=last)] == expected
    gone = Position("policy-that-is-gone", "", "")
    assert [each.policy for each in budgets(after=gone, limit=1)] == ["users"]


def test_a_listing_shows_what_is_used_at_the_moment_of_each_page(many: Callable[[int], World]) -> None:
    world = many(150)
    budgets = budgets_of(world)
    (first,) = budgets(limit=1)
    (limit,) = USERS.limits
    window = limit.window.at(world.clock.now_ms())
    late = CounterKey("users", limit.limit_id, "user=user-000003@example.com", window.start_ms)
    world.counters.restore([Sum(late, window.retain_until_ms, 9)])

    settled = {budget.scope: budget.settled for budget in budgets(after=position_of(first))}

    assert settled["user=user-000003@example.com"] == 9
