"""Amounts of the API as the JSON contract and as people read them."""

from __future__ import annotations

from google.type.money_pb2 import Money

from services.chassis.well_known import nano_usd_of
from services.kernel.money import format_usd


def usd_of(money: Money) -> str:
    """An amount of the API as the JSON contract writes it, with nine decimals."""
    return format_usd(nano_usd_of(money))


def readable_usd(nano_usd: int) -> str:
    """Dollars for a table: cents, or as many decimals as a small amount needs."""
    text = format_usd(nano_usd)
    whole, fraction = text.split(".")
    shown = fraction.rstrip("0").ljust(2, "0")
    return f"${whole}.{shown}" if nano_usd >= 0 else f"-${whole.removeprefix('-')}.{shown}"
