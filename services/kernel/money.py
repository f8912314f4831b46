"""Money, as integers only.

Amounts are nano-USD (10^-9 dollars). Prices are pico-USD per token (10^-12 dollars), the same number as micro-USD per
million tokens. The smallest published price, $0.0375 per million tokens, is 37 500 pico-USD per token. It would not be
an integer in nano-USD.
"""

from __future__ import annotations

import re
from typing import NewType

NanoUsd = NewType("NanoUsd", int)
PicoUsdPerToken = NewType("PicoUsdPerToken", int)

NANO_PER_USD = 1_000_000_000
PICO_PER_NANO = 1_000
# Largest value of a 64-bit signed counter: about 9.2 billion dollars.
MAX_NANO_USD = NanoUsd(2**63 - 1)

_DECIMAL = re.compile(r"(?P<whole>\d{1,10})(?:\.(?P<fraction>\d+))?")


def nano_from_pico(pico_usd: int) -> NanoUsd:
    """Rounds up to whole nano-USD. Applied once per call, so no call is charged less than its cost."""
    return NanoUsd(-(-pico_usd // PICO_PER_NANO))


def parse_usd(text: str) -> NanoUsd:
    """Reads dollars written as a decimal, e.g. "2000" or "0.000000001", exactly.

    Raises:
        ValueError: not a non-negative decimal with at most nine decimal places, or more than a counter holds.
    """
    return NanoUsd(_scaled(text, digits=9))


def parse_price(text: str) -> PicoUsdPerToken:
    """Reads dollars per million tokens written as a decimal, e.g. "2.50", exactly.

    Raises:
        ValueError: not a non-negative decimal with at most six decimal places.
    """
    return PicoUsdPerToken(_scaled(text, digits=6))


def format_usd(nano_usd: int) -> str:
    """Writes dollars with nine decimal places, e.g. "-0.000000001"."""
    if nano_usd < 0:
        return f"-{format_usd(-nano_usd)}"
    return f"{nano_usd // NANO_PER_USD}.{nano_usd % NANO_PER_USD:09d}"


def _scaled(text: str, *, digits: int) -> int:
    match = _DECIMAL.fullmatch(text.strip().replace("_", ""))
    fraction = (match["fraction"] or "").rstrip("0") if match else ""
    if match is None or len(fraction) > digits:
        raise ValueError(f"{text!r} is not an amount: write a number like 12.50, with at most {digits} decimals")
    scaled = int(match["whole"] + fraction.ljust(digits, "0"))
    if scaled > MAX_NANO_USD:
        raise ValueError(f"{text!r} is more than a counter holds")
    return scaled
