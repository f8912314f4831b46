"""Converts between Google's well-known messages and our integers."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from services.kernel.money import NANO_PER_USD


def timestamp(time_ms: int) -> Timestamp:
    """Converts a moment in milliseconds since 1970 UTC."""
    seconds, rest_ms = divmod(time_ms, 1_000)
    return Timestamp(seconds=seconds, nanos=rest_ms * 1_000_000)


def usd(nano_usd: int) -> Money:
    """Converts an amount of US dollars. Units and nanos have the same sign, as `google.type.Money` demands."""
    sign = -1 if nano_usd < 0 else 1
    units, nanos = divmod(abs(nano_usd), NANO_PER_USD)
    return Money(currency_code="USD", units=sign * units, nanos=sign * nanos)


def nano_usd_of(money: Money) -> int:
    """Returns the amount in nano-USD. The caller checks the currency."""
    return int(money.units) * NANO_PER_USD + int(money.nanos)
