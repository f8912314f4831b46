"""Google's well-known messages and the integers that they stand for with us."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from services.kernel.money import NANO_PER_USD


def timestamp(time_ms: int) -> Timestamp:
    """A moment in milliseconds since 1970 UTC."""
    seconds, rest_ms = divmod(time_ms, 1_000)
    return Timestamp(seconds=seconds, nanos=rest_ms * 1_000_000)


def usd(nano_usd: int) -> Money:
    """An amount of US dollars. Units and nanos carry the same sign, as `google.type.Money` demands."""
    sign = -1 if nano_usd < 0 else 1
    units, nanos = divmod(abs(nano_usd), NANO_PER_USD)
    return Money(currency_code="USD", units=sign * units, nanos=sign * nanos)


def nano_usd_of(money: Money) -> int:
    """The amount in nano-USD. Its currency is for the caller to check."""
    return int(money.units) * NANO_PER_USD + int(money.nanos)
