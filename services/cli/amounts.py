"""Amounts of the API, in JSON and for people. Amounts of a limit are nano-USD or counts, depending on its kind."""

from __future__ import annotations

from google.type.money_pb2 import Money

from services.chassis.well_known import nano_usd_of
from services.cli.limit_kinds import is_money
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


def limit_amounts(kind: int, **amounts: int) -> dict[str, object]:
    """Writes amounts of a limit for JSON: money as decimal strings under names that end in `_usd`."""
    if is_money(kind):
        return {f"{name}_usd": format_usd(amount) for name, amount in amounts.items()}
    return dict(amounts)


def readable_amount(kind: int, amount: int) -> str:
    """Writes an amount of a limit for a table."""
    return readable_usd(amount) if is_money(kind) else f"{amount:,}"
