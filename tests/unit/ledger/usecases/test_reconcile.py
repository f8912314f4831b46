"""The ledger and quota over one wire: see `tests.worlds.books`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest
from spendgate.quota.v1 import counter_service_pb2 as counters_pb

from services.kernel.errors import Unavailable
from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import AdjustmentReason
from services.kernel.window import WindowUnit
from services.ledger.domain.counting import CountedLimit, Expected, expected_counters
from services.ledger.usecases import reconcile
from services.ledger.usecases.reconcile import ASK_INTERVAL_MS
from services.quota.domain.counters.adjustment import Adjustment
from services.quota.domain.policies.policy import Threshold
from services.quota.ports.counters import Sum
from services.quota.transport.counter_service import CounterService
from tests.worlds.books import INTERVAL_MS, Books
from tests.worlds.quota import counting, spend

COST = 1_000 * 2_500 + 100 * 10_000
"""Of the call that `book` books."""
BUDGET = spend("budget", 500)


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books((BUDGET,))
    yield made
    made.close()


def called(books: Books) -> None:
    """One call, booked."""
    books.book(books.world.let())


def adjustments(books: Books) -> list[tuple[str, int, int, AdjustmentReason]]:
    listed = [each.adjustment for each in books.world.counters.adjustments_before(None, 100)]
    return [(each.counter.policy, each.before, each.after, each.reason) for each in listed]


def tamper(books: Books, amount: int) -> None:
    key, end_ms, level = next(books.world.counters.counters_at(books.clock.now_ms()))
    books.world.counters.restore([Sum(key, end_ms, level.settled + amount)])


def test_counters_that_are_right_are_left_alone(books: Books) -> None:
    called(books)
    books.check()

    assert books.world.level("budget") == (COST, 0)
    assert adjustments(books) == []
    last = books.reconcile.last
    assert (last.counters, last.drift_nano_usd, last.repaired) == (1, 0, 0)


def test_a_counter_that_drifted_is_repaired_in_plain_sight(books: Books) -> None:
    called(books)
    books.check()
    tamper(books, -1_000)

    books.check()

    assert books.world.level("budget") == (COST, 0)
    assert adjustments(books) == [("budget", COST - 1_000, COST, AdjustmentReason.DRIFT)]
    assert (books.reconcile.last.drift_nano_usd, books.reconcile.last.repaired) == (1_000, 1)
    books.check()
    assert (books.reconcile.last.drift_nano_usd, books.reconcile.last.repaired) == (0, 1)


def test_drift_is_drift_also_when_the_ledger_has_just_started(books: Books) -> None:
    called(books)
    books.check()
    tamper(books, 5)
    books.start_ledger()

    books.check()

    assert adjustments(books) == [("budget", COST + 5, COST, AdjustmentReason.DRIFT)]


def test_counters_are_compared_once_in_an_interval(books: Books) -> None:
    called(books)
    books.check()
    tamper(books, 5)

    books.clock.advance(INTERVAL_MS - 1)
    books.reconcile.rebuild_if_lost()
    books.reconcile.check_if_due()
    assert adjustments(books) == []

    books.clock.advance(1)
    books.reconcile.check_if_due()
    assert len(adjustments(books)) == 1


def test_a_new_policy_counts_at_once_what_its_window_held_before_it(books: Books) -> None:
    called(books)
    books.check()
    books.apply((BUDGET, counting("calls", LimitKind.REQUESTS, 5, WindowUnit.MONTH)))

    books.clock.advance(ASK_INTERVAL_MS)
    books.reconcile.rebuild_if_lost()
    books.reconcile.check_if_due()

    assert books.world.level("calls") == (1, 0)
    assert adjustments(books) == [("calls", 0, 1, AdjustmentReason.BACKFILL)]
    assert books.reconcile.last.drift_nano_usd == 0


def test_a_threshold_that_a_new_policy_is_past_becomes_an_alert(books: Books) -> None:
    called(books)
    books.check()
    tight = spend("tight", 1)
    books.apply((BUDGET, type(tight)(tight.name, tight.match, tight.limits, thresholds=(Threshold(1_000, ("ops",)),))))

    books.check()

    assert books.outbox.last_crossing() == 1


def test_what_quota_was_not_told_yet_is_not_missing(books: Books) -> None:
    called(books)
    books.clock.advance(INTERVAL_MS)
    books.reconcile.rebuild_if_lost()
    books.reconcile.check_if_due()

    assert adjustments(books) == []
    assert books.world.level("budget")[0] == 0


def test_a_call_that_was_released_and_cost_all_the_same_is_added(books: Books) -> None:
    admitted = books.world.let()
    books.check()
    books.world.release.by_id(admitted.reservation.id)
    books.book(admitted)

    books.check()

    assert books.world.level("budget") == (COST, 0)
    assert adjustments(books) == [("budget", 0, COST, AdjustmentReason.DRIFT)]


def test_lost_counters_are_rebuilt_from_the_entries_before_anything_is_settled(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    called(books)
    books.check()
    called(books)
    tamper(books, -COST)
    ready = False
    monkeypatch.setattr(books.world.counters, "is_ready", lambda: ready)
    held = [entry.id for entry in books.entries]
    monkeypatch.setattr(books.world.counters, "lost", lambda: held)

    books.clock.advance(ASK_INTERVAL_MS)
    books.reconcile.rebuild_if_lost()

    assert books.world.level("budget")[0] == COST
    ready = True
    books.check()
    assert books.world.level("budget") == (2 * COST, 0)
    assert adjustments(books) == []


def test_what_a_rebuild_missed_is_said_to_be_of_the_rebuild(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    called(books)
    books.check()
    ready = False
    monkeypatch.setattr(books.world.counters, "is_ready", lambda: ready)
    books.clock.advance(ASK_INTERVAL_MS)
    books.reconcile.rebuild_if_lost()
    ready = True
    tamper(books, 3)

    books.check()

    assert adjustments(books) == [("budget", COST + 3, COST, AdjustmentReason.REBUILD)]


def test_what_is_held_for_a_settled_call_is_released_with_each_comparison(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    settled, booked, running = (books.world.let(request_id=f"request-{number}") for number in range(3))
    books.book(settled)
    books.check()
    books.put_back(settled)
    books.book(booked)

    books.clock.advance(INTERVAL_MS)
    books.reconcile.rebuild_if_lost()
    books.reconcile.check_if_due()

    assert books.open_reservations() == {booked.reservation.id, running.reservation.id}
    assert books.world.level("budget")[0] == COST
    assert f"1 reservations were open although settled, first {settled.reservation.id}; released" in caplog.messages
    assert books.sweep.released == 1
    assert adjustments(books) == []


def test_all_pages_of_what_is_open_are_looked_through(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.usecases.sweep.PAGE", 2)
    calls = [books.world.let(request_id=f"request-{number}") for number in range(6)]
    for each in calls[1::2]:
        books.book(each)
    books.check()
    for each in calls[1::2]:
        books.put_back(each)

    books.check()

    assert books.open_reservations() == {each.reservation.id for each in calls[::2]}
    assert books.sweep.released == 3


def test_a_call_that_was_settled_before_quota_held_it_again_is_counted_before_its_room_is_given_back(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = books.world.let()
    books.check()
    books.world.release.by_id(admitted.reservation.id)
    books.book(admitted)
    books.settling.settle()
    books.put_back(admitted)
    held = books.world.level("budget")[1]
    seen: list[tuple[int, int]] = []
    release = books.world.counters.release

    def watched(reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        seen.append(books.world.level("budget"))
        return release(reservation_ids, request_ids)

    monkeypatch.setattr(books.world.counters, "release", watched)
    books.check()

    assert seen == [(COST, held)]
    assert books.world.level("budget") == (COST, 0)


def test_after_a_rebuild_what_is_settled_is_released_as_soon_as_the_counters_are_ready(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted = books.world.let()
    books.book(admitted)
    books.check()
    ready = False
    monkeypatch.setattr(books.world.counters, "is_ready", lambda: ready)

    def step() -> None:
        books.clock.advance(ASK_INTERVAL_MS)
        books.reconcile.rebuild_if_lost()
        books.reconcile.check_if_due()

    step()
    books.put_back(admitted)
    step()
    assert books.open_reservations() == {admitted.reservation.id}
    ready = True
    step()

    assert books.open_reservations() == set()
    assert books.world.level("budget") == (COST, 0)


def test_a_quota_that_is_away_is_compared_later(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    called(books)
    books.check()
    tamper(books, 5)

    def away(*_: object) -> int:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(books.world.counters, "adjust", away)
        with pytest.raises(Unavailable):
            books.check()
    books.check()

    assert [each[3] for each in adjustments(books)] == [AdjustmentReason.DRIFT]


def test_a_policy_that_is_gone_leaves_its_counters_alone(books: Books) -> None:
    called(books)
    books.check()
    tamper(books, 5)
    books.apply(())

    books.check()

    assert adjustments(books) == []


def test_adjustments_say_which_counter(books: Books) -> None:
    called(books)
    books.check()
    tamper(books, 5)
    books.check()

    (listed,) = books.world.counters.adjustments_before(None, 10)
    (counter,) = books.world.counters.counters_at(books.clock.now_ms())
    assert listed.adjustment == Adjustment(counter.key, counter.window_end_ms, COST + 5, COST, AdjustmentReason.DRIFT)


def test_many_counters_are_read_and_compared_some_at_a_time(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "COUNTERS_AT_ONCE", 3)
    read: list[str] = []
    compared: list[int] = []
    listed = CounterService.ListCounters

    def reading(*asked: Any) -> Iterator[counters_pb.ListCountersResponse]:
        for answer in listed(*asked):
            read.append(answer.limit.policy)
            yield answer

    def comparing(limits: Sequence[CountedLimit], *rest: Any) -> list[dict[str, Expected]]:
        compared.append(len(limits))
        # The next limit tells that the part is full, and the one after it that the next limit is complete.
        assert len(read) <= sum(compared) + 2
        return expected_counters(limits, *rest)

    monkeypatch.setattr(CounterService, "ListCounters", reading)
    monkeypatch.setattr("services.ledger.usecases.reconcile.expected_counters", comparing)
    policies = tuple(spend(f"policy-{number:02d}", 500) for number in range(10))
    books.apply(policies)
    called(books)
    books.check()
    compared.clear()
    read.clear()
    for key, end_ms, level in list(books.world.counters.counters_at(books.clock.now_ms())):
        books.world.counters.restore([Sum(key, end_ms, level.settled + 1)])

    books.check()

    assert len(read) == sum(compared) == len(policies)
    assert max(compared) <= 3
    assert [books.world.level(policy.name) for policy in policies] == [(COST, 0)] * len(policies)
    assert (books.reconcile.last.counters, books.reconcile.last.repaired) == (len(policies), len(policies))
