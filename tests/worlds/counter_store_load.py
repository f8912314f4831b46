"""Calls of many clients on one Redis: what a process of its own does in a test."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.kernel.dialect import Dialect
from services.kernel.names import reservation_id
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.domain.admission.decision import fits
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.identity.attribution import Attribution
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts

NOW_MS = 1_800_000_000_000
ENDS_MS = NOW_MS + 86_400_000
SPEND = CounterKey("team", "spend/day/UTC", "team=a", NOW_MS)
HELD = 10
TAKEN = 7
_THREADS = 4


def bounded(number: int, bound: int | None, held: int = HELD) -> Reservation:
    """A call that holds `held` of the day's budget."""
    return Reservation(
        id=reservation_id(NOW_MS, number.to_bytes(8, "big")),
        request_id=f"request-{number}",
        epoch="local-1",
        created_at_ms=NOW_MS,
        attribution=Attribution("key_1", "ci"),
        model="tiny",
        chain=("lab/tiny",),
        dialect=Dialect.OPENAI,
        expected_input_tokens=1,
        expected_output_tokens=1,
        holds=(Hold(SPEND, ENDS_MS, held, ceiling=bound),),
    )


def settlement_of(reservation: Reservation, cost: int = TAKEN) -> Settlement:
    """What such a call took."""
    return Settlement(reservation.id, cost, 0, 0, NOW_MS, reported=True)


def spend(store: RedisCounters, first: int, rounds: int, bound: int) -> int:
    """In each round, asks for calls of that round's own budget until one is refused. Returns how many passed. They
    settle a round later, so that holds of other processes matter, too.
    """
    went = 0
    before: list[Reservation] = []
    for number in range(rounds):
        counter = of_round(number)
        made: list[Reservation] = []
        while reservation := _ask(store, counter, first + went, bound):
            made.append(reservation)
            went += 1
        store.settle([settlement_of(each, HELD) for each in before], lambda _: None, NOW_MS)
        before = made
    store.settle([settlement_of(each, HELD) for each in before], lambda _: None, NOW_MS)
    return went


def of_round(number: int) -> CounterKey:
    """The budget of a round."""
    return SPEND._replace(scope=f"round={number}")


def spend_in_threads(url: str, tag: str, first: int, rounds: int, bound: int) -> int:
    """The same from several threads over one store."""
    went: list[int] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        open_doubts(Path(folder)) as doubts,
        contextlib.closing(
            RedisCounters(url, tag, LocalRecords(MemorySnapshots(), HeldJournal(Path(folder)), doubts, fresh=True))
        ) as store,
    ):
        workers = [
            threading.Thread(target=lambda at=at: went.append(spend(store, first + at * 100_000, rounds, bound)))
            for at in range(_THREADS)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return sum(went)


def _ask(store: RedisCounters, counter: CounterKey, number: int, bound: int) -> Reservation | None:
    reservation = replace(bounded(number, None), holds=(Hold(counter, ENDS_MS, HELD, ceiling=bound),))

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, Reservation | None]:
        chosen = reservation if fits(*levels[0], HELD, bound) else None
        return chosen, chosen

    return store.reserve([counter], choose)


if __name__ == "__main__":
    url, tag, *numbers = sys.argv[1:]
    sys.stdout.write(str(spend_in_threads(url, tag, *map(int, numbers))))
