"""Policies that change while very many calls run: others are decided in between, and every moment of it is exact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from services.kernel.errors import Unavailable
from services.kernel.settlement import Most
from services.quota.adapters import sqlite_adoption
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.adapters.sqlite_reservations import reservations_after
from services.quota.domain.counters.settlement import Settlement
from services.quota.usecases.admit import Admitted
from tests.worlds.counter_store_notes import open_file
from tests.worlds.quota import CENT, World, spend

CALLS = 100
BOUND = 10 * CALLS
OLD = spend("old", BOUND)
NEW = replace(OLD, name="new")
ADDED = spend("added", BOUND)
COST = CENT // 4


class InterruptedLock:
    """A lock of decisions after whose every holding something else happens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.between: Callable[[], None] | None = None

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        between, self.between = self.between, None
        if between is not None and error is None:
            between()
            self.between = between


@dataclass
class Traffic:
    """Calls that come and end, and what the counters of policies must say of them."""

    world: World
    open: list[Admitted] = field(default_factory=list)
    settled: dict[str, int] = field(default_factory=dict)
    doubt: int = 0
    moments: int = 0

    def __post_init__(self) -> None:
        self._next = cycle((self.admit, self.settle, self.leave_doubt, self.admit, self.release))

    def run_on(self) -> None:
        """Whatever comes next, at one moment of the change."""
        next(self._next)()
        self.check()
        self.moments += 1

    def admit(self) -> None:
        self.open.append(self.world.let())

    def settle(self) -> None:
        self._end(None)

    def leave_doubt(self) -> None:
        self._end(Most(-1, -1, -1))
        self.doubt += CENT - COST

    def release(self) -> None:
        assert self.world.release.by_id(self.open.pop(0).reservation.id)

    def check(self) -> None:
        """What is in force says what calls hold, took and may have taken."""
        for policy in self.world.live.snapshot.directory.directory.policies:
            assert self.world.level(policy.name) == (self.settled.get(policy.name, 0), CENT * len(self.open))
            assert self.world.doubt(policy.name) == self.doubt

    def _end(self, most: Most | None) -> None:
        call = self.open.pop(0)
        told = Settlement(call.reservation.id, COST, 0, 0, self.world.clock.now_ms(), reported=most is None, most=most)
        assert self.world.settle_all([told], 0).settled == (call.reservation.id,)
        for policy in self.world.live.snapshot.directory.directory.policies:
            self.settled[policy.name] = self.settled.get(policy.name, 0) + COST


@pytest.fixture
def lock() -> InterruptedLock:
    return InterruptedLock()


@pytest.fixture
def traffic(tmp_path: Path, lock: InterruptedLock) -> Iterator[Traffic]:
    with open_file(tmp_path) as file:
        world = World((OLD,), counters=SqliteCounters(file, lock))
        world.change_policies((OLD,))
        traffic = Traffic(world)
        for _ in range(CALLS):
            traffic.admit()
        traffic.settle()
        traffic.leave_doubt()
        yield traffic


@pytest.mark.parametrize("first", range(5))
def test_a_policy_that_is_added_is_exact_at_every_moment(traffic: Traffic, lock: InterruptedLock, first: int) -> None:
    """What happens first decides what happens just before the change."""
    for _ in range(first):
        traffic.run_on()
    lock.between = traffic.run_on

    traffic.world.change_policies((OLD, ADDED))

    lock.between = None
    assert traffic.moments > 5
    traffic.check()


def test_a_policy_that_is_renamed_is_exact_at_every_moment(traffic: Traffic, lock: InterruptedLock) -> None:
    def run_on() -> None:
        in_force = {policy.name for policy in traffic.world.live.snapshot.directory.directory.policies}
        if "new" in in_force and "new" not in traffic.settled:
            traffic.settled["new"] = traffic.settled["old"]
        traffic.run_on()

    lock.between = run_on

    traffic.world.change_policies((NEW, ADDED))

    lock.between = None
    traffic.check()
    assert traffic.world.level("old") == (0, 0)
    assert traffic.world.doubt("old") == 0


def test_a_policy_that_is_removed_holds_nothing_in_the_end(traffic: Traffic, lock: InterruptedLock) -> None:
    traffic.world.change_policies((OLD, ADDED))
    lock.between = traffic.run_on

    traffic.world.change_policies((OLD,))

    lock.between = None
    traffic.check()
    assert traffic.world.level("added") == (traffic.settled.get("added", 0), 0)


def test_a_change_that_a_full_disk_ends_leaves_the_old_policies_exact_and_can_be_repeated(
    traffic: Traffic, lock: InterruptedLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        real = SqliteFile.writing

        def full(file: SqliteFile) -> object:
            if lock.between is None:
                return real(file)
            raise Unavailable("the disk is full")

        def fill() -> None:
            # The first calls hold room under both policies by now.
            if traffic.world.level("added")[1]:
                patched.setattr(SqliteFile, "writing", full)

        lock.between = fill
        with pytest.raises(Unavailable, match="the disk is full"):
            traffic.world.change_policies((OLD, ADDED))
        lock.between = None
    assert 0 < traffic.world.level("added")[1] < CENT * len(traffic.open)

    for _ in range(10):
        traffic.run_on()

    traffic.world.change_policies((OLD, ADDED))

    traffic.check()


def test_a_call_that_is_admitted_after_the_last_look_holds_room_under_the_new_policies(
    traffic: Traffic, lock: InterruptedLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reservations_after

    def look(*asked: Any) -> list[str]:
        found = real(*asked)
        if not found:
            lock.between = None
            traffic.admit()
            lock.between = traffic.check
        return found

    monkeypatch.setattr(sqlite_adoption, "reservations_after", look)
    lock.between = traffic.check

    traffic.world.change_policies((OLD, ADDED))


def test_calls_that_were_looked_up_before_a_change_settle_in_all_that_they_hold_after_it(
    traffic: Traffic, lock: InterruptedLock
) -> None:
    world, beside = traffic.world, [spend(f"beside-{number}", BOUND) for number in range(5)]
    world.change_policies((OLD, *beside))
    told = [Settlement(call.reservation.id, COST, 0, 0, world.clock.now_ms(), reported=True) for call in traffic.open]
    # It happens once, between two slices.
    lock.between = lambda: world.change_policies((OLD, ADDED))

    assert len(world.settle_all(told, 0).settled) == len(told)

    lock.between = None
    assert world.level("old") == (traffic.settled["old"] + COST * len(told), 0)
    assert world.level("added")[1] == 0
    assert [world.level(policy.name)[1] for policy in beside] == [0] * len(beside)


def test_a_store_that_is_opened_in_the_middle_of_a_change_holds_no_less(traffic: Traffic, tmp_path: Path) -> None:
    found: list[tuple[int, int]] = []

    def look() -> None:
        with open_file(tmp_path) as file:
            again = World((OLD,), counters=SqliteCounters(file))
            found.append(again.level("old"))

    counters = traffic.world.counters
    assert isinstance(counters, SqliteCounters)
    lock = InterruptedLock()
    with open_file(tmp_path) as file:
        world = World((OLD,), counters=SqliteCounters(file, lock), first_number=1_000)
        world.change_policies((OLD,))
        world.let()
        lock.between = look
        world.change_policies((OLD, ADDED))
        lock.between = None

    assert set(found) == {(2 * COST, CENT * (len(traffic.open) + 1))}
