from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.well_known import duration, nano_usd_of, read_duration, read_timestamp, timestamp, usd
from services.kernel.errors import InvalidInput


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


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(253_402_300_800, 0), (-62_135_596_801, 0), (2**63 - 1, 0), (0, -1), (0, 1_000_000_000)]
)
def test_a_moment_that_cannot_be_is_refused_by_its_field(seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_timestamp("start_time", Timestamp(seconds=seconds, nanos=nanos))

    assert (refused.value.field, refused.value.problem) == ("start_time", "must lie in the years 1 to 9999")


@pytest.mark.parametrize("span_ms", [0, 1, 999, 1_000, 86_400_001])
def test_a_span_is_that_of_protobuf(span_ms: int) -> None:
    expected = Duration()
    expected.FromMilliseconds(span_ms)

    assert duration(span_ms) == expected
    assert read_duration("grace_period", duration(span_ms)) == span_ms


@pytest.mark.parametrize(
    ("seconds", "nanos", "problem"),
    [
        (-1, 0, "must be 0 to 60 seconds"),
        (0, -1_000_000, "must be 0 to 60 seconds"),
        # Some clients do not check the sign and the range of nanos.
        (1, -1_000_000, "must be 0 to 60 seconds"),
        (0, 1_000_000_000, "must be 0 to 60 seconds"),
        (60, 1_000_000, "must be 0 to 60 seconds"),
        (2**63 - 1, 0, "must be 0 to 60 seconds"),
        (0, 1, "must be whole milliseconds"),
        (59, 999_999_999, "must be whole milliseconds"),
    ],
)
def test_a_span_that_cannot_be_is_refused_by_its_field(seconds: int, nanos: int, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_duration("limits[0].rolling_period", Duration(seconds=seconds, nanos=nanos), most_s=60)

    assert (refused.value.field, refused.value.problem) == ("limits[0].rolling_period", problem)


def test_the_longest_span_is_as_long_as_may_be() -> None:
    assert read_duration("grace_period", Duration(seconds=60), most_s=60) == 60_000
