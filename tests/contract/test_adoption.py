"""Policies that change while calls run, in every counter store: what calls hold goes over with the change."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import Most
from services.quota.adapters import redis_adoption
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.redis_session import LocalRecords
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory.adoption import Adoption
from services.quota.domain.directory.directory import Directory
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy, Threshold
from services.quota.ports.counters import PoliciesChanged, Sum
from services.quota.usecases.admit import Admitted
from tests.contract.test_counter_store import Store, store
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts, open_file
from tests.worlds.quota import CENT, World, counting, spend
from tests.worlds.redis_process import RedisProcess
from tests.worlds.redis_stores import eventually

__all__ = ["store"]
OLD = replace(spend("old", 6), thresholds=(Threshold(3_000, ("finance",)),))
NEW = replace(OLD, name="new")
TIGHT = spend("tight", 3)


def world_of(counters: Any, *policies: QuotaPolicy, first: int = 0) -> World:
    """A quota over these counters, of which several may share them."""
    world = World(policies, counters=counters, first_number=first * 1_000_000)
    world.change_policies(policies)
    return world


def settle(world: World, call: Admitted, cost: int, most: Most | None = None) -> None:
    told = Settlement(call.reservation.id, cost, 0, 0, world.clock.now_ms(), reported=most is None, most=most)
    assert world.settle_all([told], 0).settled == (call.reservation.id,)


def doubtful(world: World, call: Admitted, cost: int) -> None:
    settle(world, call, cost, Most(-1, -1, -1))


def levels(world: World, policy: str) -> tuple[int, int, int]:
    return (*world.level(policy), world.doubt(policy))


def test_a_renamed_policy_goes_on_where_it_was(store: Store) -> None:
    world = world_of(store, OLD)
    calls = [world.let() for _ in range(4)]
    settle(world, calls[0], CENT)
    doubtful(world, calls[1], CENT // 4)
    settle(world, calls[2], CENT)
    told = world.counters.crossings_after(0, 9)
    assert [each.basis_points for each in told] == [3_000]

    world.change_policies((NEW,))

    assert levels(world, "old") == (0, 0, 0)
    assert levels(world, "new") == (2 * CENT + CENT // 4, CENT, CENT - CENT // 4)
    (doubt,) = world.counters.doubts_after("", 9)
    assert [hold.counter.policy for hold in doubt.reservation.holds] == ["new"]
    last = [world.let() for _ in range(2)]
    assert world.refused().policy == "new"
    for call in (calls[3], *last):
        settle(world, call, CENT)
    assert world.counters.crossings_after(told[-1].sequence, 9) == []
    assert levels(world, "new") == (5 * CENT + CENT // 4, 0, CENT - CENT // 4)


def test_a_policy_that_is_added_counts_what_calls_hold_and_left_in_doubt(store: Store) -> None:
    requests = counting("calls", LimitKind.CONCURRENCY, 5)
    world = world_of(store, OLD)
    first, second = world.let(), world.let()
    doubtful(world, world.let(), CENT // 4)

    world.change_policies((OLD, TIGHT, requests))

    assert levels(world, "tight") == (0, 2 * CENT, CENT - CENT // 4)
    assert levels(world, "calls") == (0, 2, 0)
    assert world.refused(facts=RequestFacts(3_000, max_output_tokens=1)).policy == "tight"
    settle(world, first, CENT // 2)
    assert levels(world, "tight") == (CENT // 2, CENT, CENT - CENT // 4)
    assert world.release.by_id(second.reservation.id)
    assert levels(world, "tight") == (CENT // 2, 0, CENT - CENT // 4)
    assert levels(world, "calls") == (0, 0, 0)


def test_a_policy_that_is_taken_away_holds_nothing_and_holds_again_when_it_is_back(store: Store) -> None:
    world = world_of(store, OLD, TIGHT)
    call = world.let()
    world.change_policies((OLD,))
    assert levels(world, "tight") == (0, 0, 0)
    world.change_policies((OLD, TIGHT))
    assert levels(world, "tight") == (0, CENT, 0)
    settle(world, call, CENT)
    assert (levels(world, "old"), levels(world, "tight")) == ((CENT, 0, 0), (CENT, 0, 0))


def test_a_policy_that_is_narrowed_counts_those_that_it_still_applies_to(store: Store) -> None:
    world = world_of(store, TIGHT)
    dear, cheap = world.let("dear"), world.let("tiered")
    world.change_policies((replace(TIGHT, match=Match(model="dear")),))

    found = {key.scope: level for key, _, level in world.counters.counters_at(world.clock.now_ms()) if any(level)}
    assert found == {"model=dear": Level(0, CENT)}
    settle(world, dear, CENT)
    settle(world, cheap, CENT)
    assert levels(world, "tight") == (CENT, 0, 0)


def test_adopting_the_same_policies_again_changes_nothing(store: Store) -> None:
    world = world_of(store, OLD)
    world.let()
    doubtful(world, world.let(), CENT // 4)
    world.change_policies((NEW,))
    before = sorted(world.counters.counters_at(world.clock.now_ms()))
    snapshot = world.live.snapshot.directory
    assert snapshot.directory.renamed == (("old", "new"),)
    world.counters.adopt(Adoption.of(snapshot), lambda: None)
    assert sorted(world.counters.counters_at(world.clock.now_ms())) == before


def test_a_call_of_an_earlier_release_holds_what_its_holds_show(store: Store) -> None:
    world = world_of(store, OLD, counting("tokens", LimitKind.TOKENS, 10_000))
    made = replace(world.let().reservation, most=None)
    world.counters.release(reservation_ids=[made.id])
    world.counters.reserve([], lambda _: (replace(made, policies=""), None))
    inputs = counting("inputs", LimitKind.INPUT_TOKENS, 10_000)

    world.change_policies((NEW, TIGHT, inputs))

    assert levels(world, "new") == levels(world, "tight") == (0, CENT, 0)
    assert levels(world, "inputs") == (0, 2_000, 0)


def test_nobody_gets_in_by_policies_that_are_not_in_force_any_more(store: Store) -> None:
    """However calls and changes come together, limits in force hold, and what is held is what calls can take."""
    world = world_of(store, TIGHT)
    stopped = threading.Event()
    ends: list[str] = []
    problems: list[object] = []

    def call_on() -> None:
        while not stopped.is_set():
            outcome = world.ask()
            if isinstance(outcome, Admitted):
                made = outcome.reservation
                limits = world.live.snapshot.directory.limits_for(made.attribution, made.model, world.clock.now_ms())
                found = world.counters.levels([limit.counter for limit in limits.limits])
                problems.extend(each for each in found if sum(each) > 3 * CENT)
                settle(world, outcome, 0)
                ends.append(made.id)

    workers = [threading.Thread(target=call_on) for _ in range(3)]
    for worker in workers:
        worker.start()
    names = ("a", "b", "c")
    for number in range(12):
        world.change_policies((replace(TIGHT, name=names[number % 3]), spend(f"beside-{number % 2}", 3)))
    eventually(lambda: len(ends) > 5)
    stopped.set()
    for worker in workers:
        worker.join()

    assert problems == []
    assert world.counters.open_count() == 0
    assert [each for each in world.counters.counters_at(world.clock.now_ms()) if any(each.level)] == []


def test_a_call_whose_policies_change_while_it_is_decided_is_decided_by_the_new_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(store, OLD)
    real = world.counters.reserve

    def after_a_change(*arguments: Any) -> Any:
        monkeypatch.undo()
        world.change_policies((NEW, TIGHT))
        return real(*arguments)

    monkeypatch.setattr(world.counters, "reserve", after_a_change)
    call = world.let()
    assert [hold.counter.policy for hold in call.reservation.holds] == ["new", "tight"]
    assert levels(world, "old") == (0, 0, 0)
    assert levels(world, "new") == levels(world, "tight") == (0, CENT, 0)


def test_a_store_that_is_opened_again_after_a_change_knows_what_is_held(tmp_path: Path) -> None:
    with open_file(tmp_path) as file:
        world = world_of(SqliteCounters(file), OLD)
        world.let()
        doubtful(world, world.let(), CENT // 4)
        settle(world, world.let(), CENT)
        world.change_policies((NEW, TIGHT))
        seen = sorted(world.counters.counters_at(world.clock.now_ms()))
    with open_file(tmp_path) as file:
        found = sorted(SqliteCounters(file).counters_at(world.clock.now_ms()))
        assert [each for each in found if any(each.level)] == [each for each in seen if any(each.level)]


@pytest.mark.parametrize("writes", range(4))
def test_a_quota_that_was_killed_while_policies_changed_ends_what_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    with open_file(tmp_path) as file:
        world = world_of(SqliteCounters(file), OLD)
        world.let()
        doubtful(world, world.let(), CENT // 4)
        settle(world, world.let(), CENT)
        count, real = itertools.count(), SqliteFile.writing

        def killed(written: SqliteFile) -> Any:
            if next(count) >= writes:
                raise KeyboardInterrupt
            return real(written)

        with monkeypatch.context() as patched:
            patched.setattr(SqliteFile, "writing", killed)
            with contextlib.suppress(KeyboardInterrupt):
                world.change_policies((NEW, TIGHT))
    with open_file(tmp_path) as file:
        world.counters = SqliteCounters(file)
        directory = Directory("acme", (), (NEW, TIGHT), (world.key,), renamed=(("old", "new"),))
        world.counters.adopt(Adoption.of(world.live.snapshot_of(directory)), lambda: None)

        assert levels(world, "old") == (0, 0, 0)
        assert levels(world, "new") == (CENT + CENT // 4, CENT, CENT - CENT // 4)
        assert levels(world, "tight") == (0, CENT, CENT - CENT // 4)


@pytest.fixture
def quotas(own_redis: RedisProcess, tmp_path: Path) -> Iterator[Callable[[int], RedisCounters]]:
    """Opens the stores of several quotas."""
    with contextlib.ExitStack() as stack:

        def open_quota(number: int) -> RedisCounters:
            doubts = stack.enter_context(open_doubts(tmp_path))
            local = LocalRecords(MemorySnapshots(), HeldJournal(tmp_path, number), doubts, fresh=True)
            opened = RedisCounters(own_redis.url, "a", local, is_first=number == 1)
            return stack.enter_context(contextlib.closing(opened))

        yield open_quota


def test_a_quota_that_has_not_heard_of_a_change_lets_nobody_in_until_it_has(
    quotas: Callable[[int], RedisCounters],
) -> None:
    first = world_of(quotas(1), OLD)
    second = world_of(quotas(2), OLD, first=2)
    call = second.let()
    first.change_policies((NEW, TIGHT))
    assert levels(first, "tight") == (0, CENT, 0)

    heard: list[int] = []

    def hear() -> None:
        heard.append(1)
        second.change_policies((NEW, TIGHT))

    second.catch_up = hear
    second.let()
    assert heard == [1]
    assert levels(first, "tight") == (0, 2 * CENT, 0)
    settle(first, call, CENT)
    assert levels(second, "tight") == (CENT, CENT, 0)


def test_nobody_is_let_in_by_several_quotas_while_policies_change(quotas: Callable[[int], RedisCounters]) -> None:
    first, second = world_of(quotas(1), TIGHT), world_of(quotas(2), TIGHT, first=2)
    live: list[tuple[QuotaPolicy, ...]] = [(TIGHT,)]
    second.catch_up = lambda: second.change_policies(live[0])
    stopped, between_calls = threading.Event(), threading.Lock()
    went: list[Admitted] = []
    refused: list[object] = []

    def call_on() -> None:
        while not stopped.is_set():
            with between_calls:
                outcome = second.ask()
                (went if isinstance(outcome, Admitted) else refused).append(outcome)  # type: ignore[arg-type]  # either

    worker = threading.Thread(target=call_on)
    worker.start()
    for number in range(10):
        live[0] = (replace(TIGHT, name="abc"[number % 3]), spend(f"beside-{number % 2}", 3))
        first.change_policies(live[0])
        refused.clear()
        eventually(lambda: len(refused) > 1)
        with between_calls:
            held = sum(hold.held for call in went for hold in call.reservation.holds[:1])
            assert levels(first, live[0][0].name) == levels(first, live[0][1].name) == (0, held, 0)
            assert held <= 3 * CENT
            for call in went[::2]:
                settle(first, call, 0)
            del went[::2]
    stopped.set()
    worker.join()


def test_a_call_that_settles_while_its_holds_are_made_again_settles_in_the_new_ones(
    quotas: Callable[[int], RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(quotas(1), OLD)
    call = world.let()

    def changed_before(*asked: Any, **options: Any) -> Any:
        monkeypatch.undo()
        world.change_policies((NEW, TIGHT))
        return RedisLink.run(*asked, **options)

    # What a call holds was read, and its end is on the way to the store.
    monkeypatch.setattr(RedisLink, "run", changed_before)
    settle(world, call, CENT // 2)
    assert levels(world, "old") == (0, 0, 0)
    assert levels(world, "new") == levels(world, "tight") == (CENT // 2, 0, 0)


def test_a_first_quota_that_was_killed_between_two_policies_ends_the_change_when_it_is_back(
    quotas: Callable[[int], RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(quotas(1), OLD)
    world.let()
    settle(world, world.let(), CENT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # Before the first counter is renamed.
        patched.setattr(redis_adoption, "all_counters", killed)
        with pytest.raises(KeyboardInterrupt):
            world.change_policies((NEW, TIGHT))
    again = world_of(quotas(1), OLD)
    again.change_policies((NEW, TIGHT))

    assert levels(again, "new") == (CENT, CENT, 0)
    assert levels(again, "tight") == (0, CENT, 0)


def test_counters_that_were_lost_after_a_change_come_back_under_the_new_policies(
    own_redis: RedisProcess, quotas: Callable[[int], RedisCounters]
) -> None:
    counters = quotas(1)
    world = world_of(counters, OLD)
    world.let()
    doubtful(world, world.let(), CENT // 4)
    world.change_policies((NEW, TIGHT))
    (settled,) = [each for each in counters.counters_at(world.clock.now_ms()) if each.key.policy == "new"]

    own_redis.client.flushall()
    counters.restore([Sum(settled.key, settled.window_end_ms, settled.level.settled)])
    eventually(counters.is_ready)
    with pytest.raises(PoliciesChanged):
        counters.reserve([], lambda _: (made_by("other"), None))
    world.catch_up = lambda: world.change_policies((NEW, TIGHT))

    assert levels(world, "new") == (CENT // 4, CENT, CENT - CENT // 4)
    assert levels(world, "tight") == (0, CENT, CENT - CENT // 4)
    world.let()
    assert levels(world, "tight") == (0, 2 * CENT, CENT - CENT // 4)


def made_by(policies: str) -> Reservation:
    """A call that was decided by these policies."""
    return replace(World((TIGHT,)).let().reservation, id="rsv_0", holds=(), policies=policies)


def test_two_policies_that_say_the_same_are_told_apart_when_one_is_renamed(store: Store) -> None:
    limit = Limit(LimitKind.SPEND, 3 * CENT, TIGHT.limits[0].per)
    twin = QuotaPolicy("twin", Match(), (limit,))
    world = world_of(store, TIGHT, twin)
    world.let()
    world.change_policies((TIGHT, replace(twin, name="other")))
    assert levels(world, "tight") == levels(world, "other") == (0, CENT, 0)
    assert levels(world, "twin") == (0, 0, 0)
