from __future__ import annotations

from services.quota.domain.counters.settlement_lag import SettlementLag


def test_before_the_first_settlement_the_wait_is_the_shortest() -> None:
    assert SettlementLag().wait_ms == 250


def test_the_wait_is_twice_the_95th_percentile() -> None:
    lag = SettlementLag()
    lag.record(range(1, 101))

    assert lag.p95_ms == 96
    assert lag.wait_ms == 250

    lag.record([1_000] * 100)
    assert lag.wait_ms == 2_000


def test_only_the_latest_calls_count_and_none_below_zero() -> None:
    lag = SettlementLag()
    lag.record([9_000] * 512)
    lag.record([-5] * 512)

    assert lag.p95_ms == 0
