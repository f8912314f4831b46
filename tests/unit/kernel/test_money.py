from __future__ import annotations

import pytest

from services.kernel.money import MAX_NANO_USD, format_usd, nano_from_pico, parse_price, parse_usd


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (-1, 0), (-1_000, -1)])
def test_pico_is_rounded_up_to_nano(pico: int, nano: int) -> None:
    assert nano_from_pico(pico) == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("2000", 2_000_000_000_000),
        ("0.000000001", 1),
        ("12.50", 12_500_000_000),
        (" 1_000 ", 1_000_000_000_000),
        ("0.1000000000000", 100_000_000),
        ("9223372036.854775807", MAX_NANO_USD),
    ],
)
def test_dollars_are_read_exactly(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", "1,5", "0.0000000001", ".5", "5.", "nan", "9223372036.854775808"]
)
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is "):
        parse_usd(text)


def test_the_smallest_published_price_is_an_integer() -> None:
    assert parse_price("0.0375") == 37_500
    assert parse_price("2.50") == 2_500_000
    with pytest.raises(ValueError, match="at most 6 decimals"):
        parse_price("0.0000001")


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0.000000000"), (1, "0.000000001"), (-1, "-0.000000001"), (12_500_000_000, "12.500000000")]
)
def test_dollars_are_written_with_nine_decimals(nano: int, text: str) -> None:
    assert format_usd(nano) == text
