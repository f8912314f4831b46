"""Windows over every time zone there is: no instant is in none, and none is in two."""

from __future__ import annotations

import zoneinfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.kernel.window import ROLLING_STEP_MS, Weekday, WindowRule, WindowUnit

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
# 1990 to 2037: earlier and later rules apply to no call.
INSTANTS_MS = st.integers(631_152_000_000, 2_145_916_800_000)
HOUR_MS = 3_600_000


LENGTHS_MS = st.integers(1, 500_000).map(lambda steps: steps * ROLLING_STEP_MS)
RULES = st.builds(
    WindowRule,
    st.sampled_from(WindowUnit),
    st.sampled_from(ZONES),
    st.sampled_from(Weekday),
    st.integers(1, 31),
    LENGTHS_MS,
)
ROLLING_RULES = st.builds(WindowRule, st.just(WindowUnit.ROLLING), rolling_ms=LENGTHS_MS)
ENDLESS = {WindowUnit.LIFETIME, WindowUnit.RUN}


# Half an hour after St. John's put its clock back over midnight, and just after Toronto put its forward over midnight.
@example(WindowRule(WindowUnit.DAY, "America/St_Johns"), 1_162_090_800_000)
@example(WindowRule(WindowUnit.DAY, "America/Toronto"), -1_601_752_800_000)
@settings(max_examples=600, deadline=None)
@given(RULES, INSTANTS_MS)
def test_an_instant_lies_in_exactly_one_window(rule: WindowRule, now_ms: int) -> None:
    window = rule.at(now_ms)

    assert window.start_ms <= now_ms < window.end_ms <= window.retain_until_ms
    if rule.unit in ENDLESS:
        # One window only, whose counter is the same forever.
        assert window.start_ms == 0
        return
    # Every instant within a window gives the same window, and its neighbours begin where it ends.
    assert rule.at(window.start_ms) == window
    assert rule.at(window.end_ms - 1) == window
    assert rule.at(window.end_ms).start_ms == window.end_ms
    assert rule.at(window.start_ms - 1).end_ms == window.start_ms


@settings(max_examples=300, deadline=None)
@given(ROLLING_RULES, INSTANTS_MS, st.integers(0, 2_600))
def test_a_rolling_window_counts_a_call_for_its_length_and_less_than_a_part_longer(
    rule: WindowRule, called_at_ms: int, later_in_hundredths_of_a_part: int
) -> None:
    counted_in = rule.at(called_at_ms).start_ms
    part_ms = rule.rolling_ms // 24
    later_ms = later_in_hundredths_of_a_part * part_ms // 100
    now_ms = called_at_ms + later_ms
    counts = counted_in in {rule.at(now_ms).start_ms, *rule.trailing_starts_ms(now_ms)}

    assert counts or later_ms > rule.rolling_ms
    assert not counts or later_ms < rule.rolling_ms + part_ms


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_of_a_year_follow_each_other_without_gap_or_overlap(zone: str) -> None:
    at_ms = 1_767_225_600_000 - 26 * HOUR_MS
    for _ in range(370):
        window = WindowRule(WindowUnit.DAY, zone).at(at_ms)
        following = WindowRule(WindowUnit.DAY, zone).at(window.end_ms)
        assert window.start_ms <= at_ms < window.end_ms == following.start_ms
        assert 22 * HOUR_MS <= window.end_ms - window.start_ms <= 26 * HOUR_MS
        at_ms = window.end_ms


@pytest.mark.parametrize("unit", [WindowUnit.WEEK, WindowUnit.MONTH, WindowUnit.QUARTER, WindowUnit.YEAR])
@pytest.mark.parametrize("zone", ZONES[::7])
def test_longer_windows_follow_each_other_without_gap_or_overlap(unit: WindowUnit, zone: str) -> None:
    rule = WindowRule(unit, zone, Weekday.SUNDAY, anchor_day=31)
    at_ms = 1_735_689_600_000
    for _ in range(30):
        window = rule.at(at_ms)
        assert window.start_ms <= at_ms < window.end_ms == rule.at(window.end_ms).start_ms
        assert rule.at(window.end_ms - 1) == window
        at_ms = window.end_ms
