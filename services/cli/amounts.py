"""Amounts between the API's messages, the contract's JSON and people."""

from __future__ import annotations

from google.type.money_pb2 import Money

from services.kernel.money import NANO_PER_USD, format_usd


def money_of(nano_usd: int) -> Money:
    """US dollars as the API carries them."""
    units, nanos = divmod(nano_usd, NANO_PER_USD)
    if units < 0 and nanos:
        units, nanos = units + 1, nanos - NANO_PER_USD
    return Money(currency_code="USD", units=units, nanos=nanos)


def nano_usd_of(money: Money) -> int:
    """An amount of the API in nano-USD."""
    return int(money.units) * NANO_PER_USD + int(money.nanos)


def usd_of(money: Money) -> str:
    """An amount of the API as the JSON contract writes it, with nine decimals."""
    return format_usd(nano_usd_of(money))


def readable_usd(nano_usd: int) -> str:
    """Dollars for a table: cents, or as many decimals as a small amount needs."""
    text = format_usd(nano_usd)
    whole, fraction = text.split(".")
    shown = fraction.rstrip("0").ljust(2, "0")
    return f"${whole}.{shown}" if nano_usd >= 0 else f"-${whole.removeprefix('-')}.{shown}"
