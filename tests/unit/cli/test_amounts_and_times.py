from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spendgate.quota.v1.quota_service_pb2 import LIMIT_KIND_SPEND, LIMIT_KIND_TOKENS

from services.chassis.well_known import nano_usd_of, usd
from services.cli.amounts import limit_amounts, readable_amount, readable_usd, usd_of
from services.cli.problems import Misuse
from services.cli.times import parse_since, parse_until, rfc3339
from services.kernel.clock import ManualClock

# 2027-01-15T08:00:00Z
CLOCK = ManualClock(1_800_000_000_000)


@given(st.integers(-(2**62), 2**62))
def test_an_amount_survives_the_api_whatever_its_sign(nano_usd: int) -> None:
    money = usd(nano_usd)
    assert nano_usd_of(money) == nano_usd
    assert money.units * money.nanos >= 0


def test_amounts_are_written_with_nine_decimals() -> None:
    assert usd_of(usd(1_500_000_000)) == "1.500000000"
    assert usd_of(usd(-1)) == "-0.000000001"


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [(0, "$0.00"), (1, "$0.000000001"), (1_500_000_000, "$1.50"), (-2_000_000_000, "-$2.00"), (123_000, "$0.000123")],
)
def test_people_read_as_many_decimals_as_there_are(nano_usd: int, text: str) -> None:
    assert readable_usd(nano_usd) == text


def test_an_amount_of_a_limit_is_money_or_a_count_by_the_kind_of_the_limit() -> None:
    assert limit_amounts(LIMIT_KIND_SPEND, settled=1_500_000_000) == {"settled_usd": "1.500000000"}
    assert limit_amounts(LIMIT_KIND_TOKENS, settled=1_500) == {"settled": 1_500}
    assert readable_amount(LIMIT_KIND_SPEND, 1_500_000_000) == "$1.50"
    assert readable_amount(LIMIT_KIND_TOKENS, 1_500) == "1,500"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", "2027-01-08T08:00:00Z"),
        ("90m", "2027-01-15T06:30:00Z"),
        ("2w", "2027-01-01T08:00:00Z"),
        ("2026-12-01", "2026-12-01T00:00:00Z"),
        ("2026-12-01T02:00:00+02:00", "2026-12-01T00:00:00Z"),
    ],
)
def test_since_takes_a_span_or_a_moment(text: str, moment: str) -> None:
    assert rfc3339(parse_since("--since", text, CLOCK)) == moment


def test_until_counts_forward() -> None:
    assert rfc3339(parse_until("--expires", "30d", CLOCK)) == "2027-02-14T08:00:00Z"


@pytest.mark.parametrize("text", ["", "7", "d", "yesterday", "7y", "2026-13-01", "2026-12-01T00:00:00"])
def test_anything_else_is_misuse_that_shows_what_to_write(text: str) -> None:
    with pytest.raises(Misuse, match=r"--since .*: write a span like 7d"):
        parse_since("--since", text, CLOCK)
