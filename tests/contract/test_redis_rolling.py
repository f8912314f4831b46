"""Rolling windows in a shared store: all parts of a window share its room."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.ports.counters import Choose
from tests.worlds.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, bounded, settlement_of
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts
from tests.worlds.redis_process import RedisProcess

BOUND = 100


@pytest.fixture
def stores(redis_process: RedisProcess, tmp_path: Path) -> Iterator[tuple[RedisCounters, RedisCounters]]:
    """Two that share their counters."""
    with contextlib.ExitStack() as stack:
        tag = uuid.uuid4().hex
        doubts = stack.enter_context(open_doubts(tmp_path))
        one, other = (
            RedisCounters(
                redis_process.url,
                tag,
                LocalRecords(MemorySnapshots(), HeldJournal(tmp_path, number), doubts, fresh=True),
            )
            for number in (1, 2)
        )
        yield stack.enter_context(contextlib.closing(one)), stack.enter_context(contextlib.closing(other))


def always(made: Reservation) -> Choose[str]:
    return lambda _: (made, made.id)


def nothing(_: CounterKey) -> None:
    return None


def _held_in(
    part: CounterKey, number: int, held: int, *, ceiling: int | None = None, trailing: tuple[CounterKey, ...] = ()
) -> Reservation:
    return replace(bounded(number, None), holds=(Hold(part, ENDS_MS, held, ceiling, trailing),))


def test_the_room_of_a_window_that_rolls_is_that_of_all_its_parts_whoever_holds_in_them(
    stores: tuple[RedisCounters, RedisCounters],
) -> None:
    store, other = stores
    parts = [SPEND._replace(window_start_ms=NOW_MS - part * 60_000) for part in range(3)]
    other.reserve([], always(_held_in(parts[2], 1, 30)))
    other.settle([settlement_of(_held_in(parts[2], 1, 30), 30)], nothing, NOW_MS)
    seen: list[int] = []

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, str]:
        seen.append(sum(sum(level) for level in levels))
        if len(seen) == 1:
            other.reserve([], always(_held_in(parts[1], 2, 30)))
        mine = _held_in(parts[0], 3, 50, ceiling=BOUND, trailing=tuple(parts[1:]))
        return (mine, "let") if seen[-1] + 50 <= BOUND else (None, "refused")

    assert store.reserve(parts, choose) == "refused"
    assert seen == [30, 60]
    assert store.levels(parts) == [Level(0, 0), Level(0, 30), Level(30, 0)]


def test_two_that_race_over_the_parts_of_a_window_that_rolls_never_overspend_it(
    stores: tuple[RedisCounters, RedisCounters],
) -> None:
    rounds = [
        [SPEND._replace(scope=f"round={number}", window_start_ms=NOW_MS - part * 60_000) for part in range(3)]
        for number in range(100)
    ]
    at_once = threading.Barrier(4)

    def ask(store: RedisCounters, place: int) -> None:
        for number, parts in enumerate(rounds):
            # Each lies in the other's window, as they do when two clocks differ.
            own = parts[place % 2]
            beside = tuple(part for part in parts if part != own)
            made = _held_in(own, place * 1_000 + number, HELD, ceiling=HELD, trailing=beside)

            def choose(levels: Sequence[Level], made: Reservation = made) -> tuple[Reservation | None, None]:
                return (None if any(map(sum, levels)) else made), None

            at_once.wait()
            store.reserve(parts, choose)

    threads = [threading.Thread(target=ask, args=(store, at)) for at, store in enumerate((*stores, *stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {sum(map(sum, stores[0].levels(parts))) for parts in rounds} == {HELD}
