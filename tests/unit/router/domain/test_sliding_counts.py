from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.sliding_counts import SlidingCounts


@given(
    period_s=st.integers(1, 3_600),
    steps=st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 3)), max_size=60),
)
def test_a_count_covers_the_period_and_at_most_a_little_more(period_s: int, steps: list[tuple[int, int]]) -> None:
    period_ms = period_s * 1_000
    slack_ms = 2 * max(100, period_ms // 30)
    counts, now_ms, added = SlidingCounts(period_ms), 1_800_000_000_123, list[tuple[int, int]]()
    for pause_ms, key in steps:
        now_ms += pause_ms
        counts.add(key, now_ms)
        added.append((now_ms, key))
        totals = counts.totals(now_ms)
        for one in range(4):
            within = sum(time_ms > now_ms - period_ms for time_ms, each in added if each == one)
            nearly = sum(time_ms > now_ms - period_ms - slack_ms for time_ms, each in added if each == one)
            assert within <= totals.get(one, 0) <= nearly


def test_memory_does_not_grow_with_time() -> None:
    counts = SlidingCounts(1_000)
    tracemalloc.start()
    for now_ms in range(0, 100_000, 10):
        counts.add(now_ms % 3, now_ms)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000
    assert counts.totals(10_000_000) == {}
