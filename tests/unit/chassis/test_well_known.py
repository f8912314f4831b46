from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.well_known import nano_usd_of, timestamp, usd


@pytest.mark.parametrize("time_ms", [0, 1, 999, 1_000, 1_795_464_000_123, -1, -1_001])
def test_a_moment_is_that_of_protobuf(time_ms: int) -> None:
    expected = Timestamp()
    expected.FromMilliseconds(time_ms)

    assert timestamp(time_ms) == expected
    assert timestamp(time_ms).ToMilliseconds() == time_ms


@pytest.mark.parametrize(
    ("nano_usd", "units", "nanos"),
    [(0, 0, 0), (1, 0, 1), (-1, 0, -1), (2_500_000_001, 2, 500_000_001), (-2_500_000_001, -2, -500_000_001)],
)
def test_an_amount_keeps_every_nano_dollar_and_its_sign(nano_usd: int, units: int, nanos: int) -> None:
    money = usd(nano_usd)

    assert (money.currency_code, money.units, money.nanos) == ("USD", units, nanos)
    assert nano_usd_of(money) == nano_usd
