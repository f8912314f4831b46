from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.domain.flood import TokenBucket

PER_S, BURST = 50, 500


def test_a_burst_passes_and_then_so_many_in_a_second() -> None:
    bucket = TokenBucket(per_s=PER_S, burst=BURST)
    assert [bucket.take(400, 0), bucket.take(400, 0), bucket.take(400, 0)] == [400, 100, 0]
    assert bucket.take(400, 1_000) == PER_S
    assert bucket.take(400, 1_010) == 0
    assert bucket.take(400, 1_020) == 1


def test_a_pause_fills_it_no_further_than_a_burst() -> None:
    bucket = TokenBucket(per_s=PER_S, burst=BURST)
    bucket.take(BURST, 0)
    assert bucket.take(10_000, 86_400_000) == BURST


def test_a_clock_that_goes_back_adds_nothing() -> None:
    bucket = TokenBucket(per_s=PER_S, burst=BURST)
    bucket.take(BURST, 10_000)
    assert bucket.take(1, 0) == 0
    assert bucket.take(1, 20) == 1


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 2_000)), max_size=50))
def test_no_flood_takes_more_than_its_share(asked: list[tuple[int, int]]) -> None:
    bucket, now_ms, taken = TokenBucket(per_s=PER_S, burst=BURST), 0, 0
    for wanted, pause_ms in asked:
        now_ms += pause_ms
        got = bucket.take(wanted, now_ms)
        assert 0 <= got <= wanted
        taken += got
        assert taken <= BURST + PER_S * now_ms // 1_000
