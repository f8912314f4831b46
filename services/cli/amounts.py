"""Amounts of the API, in JSON and for people."""

from __future__ import annotations

from google.type.money_pb2 import Money

from services.chassis.well_known import nano_usd_of
from services.kernel.money import format_usd


def usd_of(money: Money) -> str:
    """Writes an amount of the API for JSON, with nine decimals."""
    return format_usd(nano_usd_of(money))


def readable_usd(nano_usd: int) -> str:
    """Writes dollars for a table: cents, or as many decimals as a small amount needs."""
    text = format_usd(nano_usd)
    whole, fraction = text.split(".")
    shown = fraction.rstrip("0").ljust(2, "0")
    return f"${whole}.{shown}" if nano_usd >= 0 else f"-${whole.removeprefix('-')}.{shown}"
