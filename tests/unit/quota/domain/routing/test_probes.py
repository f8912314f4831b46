from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from services.quota.domain.routing.probes import Probes

NOW_MS = 1_800_000_000_000


class Slot(NamedTuple):
    slot: tuple[str, ...]
    every_ms: int


@given(st.lists(st.integers(0, 3_000), max_size=80), st.integers(1_000, 8_000))
def test_a_slot_gets_at_most_one_call_in_its_interval_and_none_is_missed(pauses: list[int], every_ms: int) -> None:
    probes, now_ms, turns = Probes(), NOW_MS, list[int]()
    for pause_ms in pauses:
        now_ms += pause_ms
        due = not turns or now_ms >= turns[-1] + every_ms
        assert (probes.turn([Slot(("a/x",), every_ms)], now_ms, object()) == 0) == due
        if due:
            turns.append(now_ms)


def test_a_decision_that_is_repeated_keeps_its_turn() -> None:
    probes, first, second = Probes(), object(), object()
    slot = [Slot(("a/x",), 1_000)]
    assert [probes.turn(slot, NOW_MS, asker) for asker in (first, second, first, second)] == [0, None, 0, None]


def test_when_the_first_slot_had_its_turn_the_next_one_may_be_due() -> None:
    probes = Probes()
    slots = [Slot(("a/x",), 1_000), Slot(("b/x",), 1_000)]
    assert [probes.turn(slots, NOW_MS, object()) for _ in range(3)] == [0, 1, None]


def test_a_clock_that_was_set_back_does_not_stop_probes() -> None:
    probes, slot = Probes(), [Slot(("a/x",), 1_000)]
    assert probes.turn(slot, NOW_MS, object()) == 0
    assert probes.turn(slot, NOW_MS - 3_600_000, object()) == 0
