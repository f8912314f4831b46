from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

import pytest

from services.kernel.clock import ManualClock
from services.kernel.errors import NotFound
from services.quota.domain.counters.doubt import Doubt, Goes
from services.quota.usecases.doubts import Doubts
from tests.worlds.counter_store_load import ENDS_MS, NOW_MS, bounded


class CountingStore:
    """The doubts of many calls, and how many of them were looked at."""

    def __init__(self, calls: int) -> None:
        self.doubts = [Doubt(bounded(number, None), NOW_MS) for number in range(calls)]
        self.ids = [doubt.reservation.id for doubt in self.doubts]
        self.read = 0

    def doubts_after(self, reservation_id: str, limit: int) -> list[Doubt]:
        at = bisect.bisect_right(self.ids, reservation_id)
        found = self.doubts[at : at + limit]
        self.read += len(found)
        return found

    def clear_doubts(self, reservations: Sequence[str], goes: Goes) -> list[Doubt]:
        raise NotImplementedError


CALLS = 3_000
UNREAD: Any = None
"""To look at doubt writes nothing, and so asks nothing of the audit log."""


def world(now_ms: int = NOW_MS) -> tuple[CountingStore, Doubts]:
    store = CountingStore(CALLS)
    return store, Doubts(store=store, audit=UNREAD, clock=ManualClock(now_ms))


@pytest.mark.parametrize("number", [0, 15, 16, 1_777, CALLS - 1])
def test_one_doubt_among_thousands_is_found_without_reading_them_all(number: int) -> None:
    store, doubts = world()

    assert doubts.get(store.ids[number]) == store.doubts[number]
    assert store.read <= 500


@pytest.mark.parametrize("name", ["", "r", "s", "z", "rsv_", "rsv_z"])
def test_a_name_of_no_call_does_not_make_it_read_them_all(name: str) -> None:
    store, doubts = world()

    with pytest.raises(NotFound, match=r"is in doubt: what it took is known, or its window is over"):
        doubts.get(name)
    assert store.read <= 500


def test_doubt_whose_window_is_over_is_not_found() -> None:
    store, doubts = world(ENDS_MS)

    with pytest.raises(NotFound):
        doubts.get(store.ids[7])
