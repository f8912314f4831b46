from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.clock import ManualClock
from services.router.domain.attempt import Attempt, Outcome
from services.router.usecases.attempt_stats import PERIOD_MS, AttemptStats, TargetFigures


def attempt(
    outcome: Outcome = Outcome.SERVED, took_ms: int = 10, first_byte_ms: int | None = 5, target: str = "lab/tiny"
) -> Attempt:
    return Attempt(target, 0, took_ms, first_byte_ms, outcome)


def test_attempts_are_counted_by_target_for_five_minutes() -> None:
    clock = ManualClock()
    stats = AttemptStats(clock)
    stats.observe(attempt(Outcome.FAILED))
    clock.advance(PERIOD_MS // 2)
    for outcome in Outcome:
        stats.observe(attempt(outcome))
    assert stats.figures("lab/tiny") == TargetFigures(3, 2, latency_p95_ms=10, ttft_p95_ms=5)
    assert stats.figures("lab/other") == TargetFigures()
    clock.advance(PERIOD_MS * 3 // 4)
    assert stats.figures("lab/tiny") == TargetFigures(2, 1, latency_p95_ms=10, ttft_p95_ms=5)
    clock.advance(PERIOD_MS)
    assert stats.figures("lab/tiny") == TargetFigures()


@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=80))
def test_the_percentile_is_the_nearest_rank_to_one_part_in_32(times_ms: list[int]) -> None:
    stats = AttemptStats(ManualClock())
    for took_ms in times_ms:
        stats.observe(attempt(took_ms=took_ms, first_byte_ms=took_ms))
    true = sorted(times_ms)[-(-len(times_ms) * 95 // 100) - 1]
    found = stats.figures("lab/tiny").latency_p95_ms
    assert found is not None
    assert true <= found <= true + true // 32


def test_targets_are_bounded() -> None:
    stats = AttemptStats(ManualClock())
    for at in range(5_000):
        stats.observe(attempt(target=f"lab/{at}"))
    assert stats.figures("lab/0").attempts == 1
    assert stats.figures("lab/4999").attempts == 0
