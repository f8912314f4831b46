"""Windows over every time zone there is: no instant is in none, and none is in two."""

from __future__ import annotations

import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.window import WindowUnit, window_at

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
# 1990 to 2037: before and after lie rules that no call can meet.
INSTANTS_MS = st.integers(631_152_000_000, 2_145_916_800_000)
HOUR_MS = 3_600_000


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(WindowUnit), INSTANTS_MS)
def test_an_instant_lies_in_exactly_one_window(zone: str, unit: WindowUnit, now_ms: int) -> None:
    window = window_at(unit, zone, now_ms)

    assert window.start_ms <= now_ms < window.end_ms
    # Whoever asks from anywhere within is told the same window, and the neighbours begin where it ends.
    assert window_at(unit, zone, window.start_ms) == window
    assert window_at(unit, zone, window.end_ms - 1) == window
    assert window_at(unit, zone, window.end_ms).start_ms == window.end_ms
    assert window_at(unit, zone, window.start_ms - 1).end_ms == window.start_ms


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_of_a_year_follow_each_other_without_gap_or_overlap(zone: str) -> None:
    at_ms = 1_767_225_600_000 - 26 * HOUR_MS
    for _ in range(370):
        window = window_at(WindowUnit.DAY, zone, at_ms)
        following = window_at(WindowUnit.DAY, zone, window.end_ms)
        assert window.start_ms <= at_ms < window.end_ms == following.start_ms
        assert 22 * HOUR_MS <= window.end_ms - window.start_ms <= 26 * HOUR_MS
        at_ms = window.end_ms
