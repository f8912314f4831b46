from __future__ import annotations

import pytest

from services.router.usecases.attempt_stats import Attempt, AttemptStats, Tally

NOW_MS = 1_800_000_000_000


def attempt(status: int = 200, ago_s: int = 0, cluster: str = "lab.openai") -> Attempt:
    return Attempt(cluster, status, NOW_MS - ago_s * 1_000, duration_ms=10, first_byte_ms=5)


@pytest.mark.parametrize(
    ("status", "failed"), [(200, False), (400, False), (404, False), (429, True), (500, True), (503, True), (0, True)]
)
def test_an_attempt_failed_when_it_speaks_against_the_provider(status: int, failed: bool) -> None:
    assert attempt(status).failed is failed


def test_attempts_are_counted_by_cluster_over_the_time_that_is_asked_for() -> None:
    stats = AttemptStats()
    stats.record([attempt(500, ago_s=300), attempt(200, ago_s=30), attempt(500), attempt(cluster="b.openai")])
    assert stats.tally("lab.openai", NOW_MS, 60) == Tally(attempts=2, failures=1, duration_ms=20)
    assert stats.tally("lab.openai", NOW_MS, 600) == Tally(attempts=3, failures=2, duration_ms=30)
    assert stats.tally("unheard.of", NOW_MS, 60) == Tally()


def test_an_entry_that_comes_late_is_counted() -> None:
    stats = AttemptStats()
    stats.record([attempt(ago_s=0), attempt(ago_s=15), attempt(ago_s=600)])
    assert stats.tally("lab.openai", NOW_MS, 3_600).attempts == 3


def test_memory_is_bounded_in_time_and_in_clusters() -> None:
    stats = AttemptStats()
    stats.record(attempt(ago_s=ago_s) for ago_s in range(20_000, -1, -10))
    assert stats.tally("lab.openai", NOW_MS, 100_000).attempts == 360
    stats.record(attempt(cluster=f"c{at}.openai") for at in range(5_000))
    assert stats.tally("c4999.openai", NOW_MS, 60) == Tally()
    assert stats.tally("c0.openai", NOW_MS, 60).attempts == 1
