"""One suite for every counter store: what the fake in memory does, the real one does too."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.dialect import Dialect
from services.kernel.names import reservation_id
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.crossing import ThresholdRule
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Threshold
from services.quota.ports.counters import Choose
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts, open_file
from tests.worlds.memory_counters import MemoryCounters

Store = MemoryCounters | SqliteCounters | RedisCounters

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
SPEND = CounterKey("team", "spend/day/UTC", "team=a", NOW_MS)
TOKENS = CounterKey("team", "tokens/day/UTC", "team=a", NOW_MS)
REQUESTS = CounterKey("all", "requests/minute", "organization", NOW_MS)
ENDS_MS = {SPEND: NOW_MS + DAY_MS, TOKENS: NOW_MS + DAY_MS, REQUESTS: NOW_MS + 60_000}
WHO = Attribution("key_1", "ci", "a", "p", "prod", "ada@example.com")


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    if request.param == "redis":
        url = request.getfixturevalue("redis_process").url
        journal = HeldJournal(tmp_path)
        with (
            open_doubts(tmp_path) as doubts,
            contextlib.closing(
                RedisCounters(url, uuid.uuid4().hex, LocalRecords(MemorySnapshots(), journal, doubts, fresh=True))
            ) as counters,
        ):
            yield counters
        return
    with open_file(tmp_path) as file:
        yield SqliteCounters(file)


def reservation(
    number: int, holds: dict[CounterKey, int], *, request_id: str = "", epoch: str = "local-1", at_ms: int = NOW_MS
) -> Reservation:
    return Reservation(
        id=reservation_id(at_ms, number.to_bytes(8, "big")),
        request_id=request_id or f"request-{number}",
        epoch=epoch,
        created_at_ms=at_ms,
        attribution=WHO,
        model="tiny",
        chain=("lab/tiny", "lab/small"),
        dialect=Dialect.OPENAI,
        expected_input_tokens=12,
        expected_output_tokens=34,
        holds=tuple(Hold(counter, ENDS_MS.get(counter, NOW_MS + DAY_MS), held) for counter, held in holds.items()),
    )


def always(made: Reservation) -> Choose[str]:
    return lambda _: (made, made.id)


def settlement(made: Reservation, cost: int, tokens: tuple[int, int] = (0, 0)) -> Settlement:
    return Settlement(made.id, cost, *tokens, NOW_MS, reported=True)


def nothing(_: CounterKey) -> None:
    return None


def find_rule(bound: int, *basis_points: int) -> Callable[[CounterKey], ThresholdRule]:
    thresholds = tuple(Threshold(each, ("lead",)) for each in basis_points)
    return lambda _: ThresholdRule(bound, thresholds, "spend per day")


def test_counters_that_nobody_used_are_at_zero(store: Store) -> None:
    seen: list[Sequence[Level]] = []
    seen.append(store.reserve([SPEND, TOKENS], lambda levels: (None, levels)))

    assert seen == [[Level(0, 0), Level(0, 0)]]
    assert store.levels([SPEND]) == [Level(0, 0)]
    assert list(store.counters_at(NOW_MS)) == []


def test_a_reservation_holds_room_in_all_of_its_counters(store: Store) -> None:
    made = reservation(1, {SPEND: 70, TOKENS: 5, REQUESTS: 1})

    assert store.reserve([SPEND], always(made)) == made.id
    store.reserve([], always(reservation(2, {SPEND: 30})))

    assert store.levels([REQUESTS, SPEND, TOKENS]) == [Level(0, 1), Level(0, 100), Level(0, 5)]
    assert store.open_count() == 2


def test_levels_come_in_the_order_that_was_asked_for(store: Store) -> None:
    store.reserve([], always(reservation(1, {SPEND: 7, TOKENS: 5})))
    seen: list[Sequence[Level]] = []

    seen.append(store.reserve([TOKENS, REQUESTS, SPEND], lambda levels: (None, levels)))

    assert seen == [[Level(0, 5), Level(0, 0), Level(0, 7)]]


def test_more_counters_than_a_statement_takes_are_read_and_written(store: Store) -> None:
    many = [CounterKey(f"policy-{number}", "tokens/day/UTC", "organization", NOW_MS) for number in range(900)]
    holds = tuple(Hold(counter, NOW_MS + DAY_MS, number) for number, counter in enumerate(many))
    made = replace(reservation(1, {}), holds=holds)
    store.reserve(many, always(made))

    assert [level.reserved for level in store.levels(many)] == list(range(900))
    store.release(reservation_ids=[made.id])
    assert set(store.levels(many)) == {Level(0, 0)}


def test_settling_moves_what_was_held_to_what_was_taken(store: Store) -> None:
    made = reservation(1, {SPEND: 70, TOKENS: 50, REQUESTS: 1})
    store.reserve([], always(made))

    done = store.settle([settlement(made, 40, (10, 20))], nothing, NOW_MS)

    assert done.settled == (made,)
    assert done.already_ended == ()
    assert store.levels([SPEND, TOKENS, REQUESTS]) == [Level(40, 0), Level(30, 0), Level(1, 0)]
    assert store.open_count() == 0


def test_settling_twice_changes_nothing_not_even_within_one_batch(store: Store) -> None:
    made = reservation(1, {SPEND: 70})
    store.reserve([], always(made))

    done = store.settle([settlement(made, 40), settlement(made, 60)], nothing, NOW_MS)
    again = store.settle([settlement(made, 40)], nothing, NOW_MS)

    assert (done.settled, done.already_ended) == ((made,), (made.id,))
    assert (again.settled, again.already_ended) == ((), (made.id,))
    assert store.levels([SPEND]) == [Level(40, 0)]


def test_what_a_call_took_beyond_its_hold_is_booked_in_full(store: Store) -> None:
    made = reservation(1, {SPEND: 70})
    store.reserve([], always(made))
    store.settle([settlement(made, 90)], nothing, NOW_MS)

    assert store.levels([SPEND]) == [Level(90, 0)]


def test_an_unknown_cost_counts_as_what_was_held(store: Store) -> None:
    made = reservation(1, {SPEND: 70})
    store.reserve([], always(made))
    store.settle([settlement(made, -1)], nothing, NOW_MS)

    assert store.levels([SPEND]) == [Level(70, 0)]


def test_a_release_gives_back_and_can_no_longer_be_settled(store: Store) -> None:
    by_id, by_request = reservation(1, {SPEND: 70}), reservation(2, {SPEND: 30}, request_id="abc")
    store.reserve([], always(by_id))
    store.reserve([], always(by_request))

    assert store.release(reservation_ids=[by_id.id, "rsv_unknown"]) == 1
    assert store.release(request_ids=["abc", "unknown"]) == 1
    assert store.release(request_ids=["abc"]) == 0
    assert store.settle([settlement(by_id, 40)], nothing, NOW_MS).already_ended == (by_id.id,)
    assert store.levels([SPEND]) == [Level(0, 0)]


def test_overdue_are_those_of_ended_epochs_and_the_very_old_oldest_first(store: Store) -> None:
    old = reservation(1, {}, at_ms=NOW_MS - 5_000)
    ended = reservation(2, {}, epoch="local-0", at_ms=NOW_MS + 1)
    fresh = reservation(3, {}, at_ms=NOW_MS)
    for each in (fresh, ended, old):
        store.reserve([], always(each))

    assert store.overdue(["local-0"], NOW_MS, 10) == [old, ended]
    assert store.overdue(["local-0"], NOW_MS, 1) == [old]
    assert store.overdue([], NOW_MS + 1, 10) == [old, fresh]
    assert store.overdue([], 0, 10) == []
    assert store.overdue([], -1, 10) == []


def test_all_that_is_open_is_listed_oldest_first_after_any_id(store: Store) -> None:
    old, done, fresh, newest = (reservation(number, {}, at_ms=NOW_MS + number) for number in range(4))
    for each in (newest, fresh, done, old):
        store.reserve([], always(each))
    store.settle([settlement(done, 1)], nothing, NOW_MS)

    assert store.open_after("", 2) == [old.id, fresh.id]
    assert store.open_after(old.id, 9) == store.open_after(done.id, 9) == [fresh.id, newest.id]
    assert store.open_after(newest.id, 9) == []


def test_the_counters_of_a_moment_are_those_whose_windows_contain_it(store: Store) -> None:
    store.reserve([], always(reservation(1, {SPEND: 7, REQUESTS: 1})))

    assert {each.key for each in store.counters_at(NOW_MS)} == {REQUESTS, SPEND}
    assert [each.key for each in store.counters_at(NOW_MS + 60_000)] == [SPEND]
    assert list(store.counters_at(NOW_MS - 1)) == []


def test_a_store_that_is_opened_again_knows_what_was_settled_and_what_is_held(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    file = SqliteFile(tmp_path / "quota.sqlite")
    store = SqliteCounters(file)
    settled, released, held = (reservation(number, {SPEND: 50, REQUESTS: 1}) for number in range(3))
    for each in (settled, released, held):
        store.reserve([], always(each))
    store.settle([settlement(settled, 40)], nothing, NOW_MS)
    store.release(reservation_ids=[released.id])
    file.close()

    file = SqliteFile(tmp_path / "quota.sqlite")
    again = SqliteCounters(file)
    assert again.levels([SPEND, REQUESTS]) == store.levels([SPEND, REQUESTS]) == [Level(40, 50), Level(1, 1)]
    assert sorted(again.counters_at(NOW_MS)) == sorted(store.counters_at(NOW_MS))
    file.close()


def test_only_windows_that_ended_and_hold_nothing_are_forgotten(store: Store) -> None:
    settled, held = reservation(1, {SPEND: 7, REQUESTS: 1}), reservation(2, {REQUESTS: 1})
    store.reserve([], always(settled))
    store.reserve([], always(held))
    store.settle([settlement(settled, 7)], nothing, NOW_MS)
    much_later = NOW_MS + 10 * DAY_MS

    assert store.forget(NOW_MS) == 0
    assert store.forget(much_later) == 1
    assert store.levels([SPEND, REQUESTS]) == [Level(0, 0), Level(1, 1)]
    store.release(reservation_ids=[held.id])
    assert store.forget(much_later) == 1
    assert store.levels([REQUESTS]) == [Level(0, 0)]


def test_a_choice_that_raises_changes_nothing_and_the_store_goes_on(store: Store) -> None:
    def fail(_: Sequence[Level]) -> tuple[None, None]:
        raise LookupError

    with pytest.raises(LookupError):
        store.reserve([SPEND], fail)

    store.reserve([], always(reservation(1, {SPEND: 7})))
    assert store.levels([SPEND]) == [Level(0, 7)]


def test_nobody_gets_between_reading_and_reserving(store: Store) -> None:
    bound, threads = 100, 8
    passed: list[int] = []

    def ask(first: int) -> None:
        for number in range(first, first + 50):
            hold = Hold(SPEND, ENDS_MS[SPEND], 1, ceiling=bound)
            made = replace(reservation(number, {}), holds=(hold,))

            def choose(levels: Sequence[Level], made: Reservation = made) -> tuple[Reservation | None, bool]:
                fits = sum(levels[0]) + 1 <= bound
                return (made if fits else None), fits

            if store.reserve([SPEND], choose):
                passed.append(number)

    workers = [threading.Thread(target=ask, args=(first * 50,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(passed) == bound
    assert store.levels([SPEND]) == [Level(0, bound)]


def test_a_threshold_of_a_window_that_rolls_counts_all_its_parts_and_is_reported_once(store: Store) -> None:
    earlier = SPEND._replace(window_start_ms=SPEND.window_start_ms - 60_000)

    def rolling(counter: CounterKey) -> ThresholdRule:
        trailing = (earlier,) if counter == SPEND else ()
        return ThresholdRule(
            100, (Threshold(8_000, ("finance",)),), "spend in 24 hours", trailing, earlier.window_start_ms
        )

    for number, (counter, cost) in enumerate([(earlier, 50), (SPEND, 29), (SPEND, 1), (SPEND, 5)]):
        made = reservation(number, {counter: cost})
        store.reserve([], always(made))
        store.settle([settlement(made, cost)], rolling, NOW_MS)

    assert [(told.settled, told.counter) for told in store.crossings_after(0, 9)] == [(80, SPEND)]


def test_a_run_that_goes_on_is_remembered_longer(store: Store) -> None:
    for number, end_ms in enumerate([NOW_MS + DAY_MS, NOW_MS + 5 * DAY_MS]):
        made = replace(reservation(number, {}), holds=(Hold(SPEND, end_ms, 7),))
        store.reserve([], always(made))
        store.settle([settlement(made, 7)], nothing, NOW_MS)

    assert store.forget(NOW_MS + 2 * DAY_MS) == 0
    assert store.levels([SPEND]) == [Level(14, 0)]
    assert store.forget(NOW_MS + 5 * DAY_MS) == 1


def test_what_is_told_names_a_call_that_brought_it_about(store: Store) -> None:
    first, second = reservation(1, {SPEND: 50}), reservation(2, {SPEND: 50})
    for made in (first, second):
        store.reserve([], always(made))
        store.settle([settlement(made, 50)], find_rule(100, 8_000), NOW_MS)

    assert [told.reservation for told in store.crossings_after(0, 9)] == [second.id]
