from __future__ import annotations

import pytest

from services.quota.domain.counters import contention as module
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.counter import CounterKey

ONE, OTHER, THIRD = (CounterKey(name, "spend/month/UTC", "organization", 0) for name in "abc")


def test_pressure_lasts_ten_seconds_from_the_last_refusal() -> None:
    contention = Contention()
    assert not contention.is_on([ONE], 0)

    contention.note(ONE, 1_000)
    contention.note(ONE, 5_000)

    assert contention.is_on([OTHER, ONE], 15_000)
    assert not contention.is_on([ONE], 15_001)
    assert not contention.is_on([OTHER], 5_000)


def test_of_too_many_counters_the_one_that_was_noted_first_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COUNTERS", 2)
    contention = Contention()

    for counter in (ONE, OTHER, ONE, THIRD):
        contention.note(counter, 0)

    assert [contention.is_on([counter], 0) for counter in (ONE, OTHER, THIRD)] == [True, False, True]
