"""Converts between Google's well-known messages and our integers."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from services.kernel.errors import InvalidInput
from services.kernel.money import NANO_PER_USD

_NANO_PER_SECOND = 1_000_000_000
_NANO_PER_MS = 1_000_000
# The longest that the message can be (https://protobuf.dev/reference/protobuf/google.protobuf/#duration).
_MOST_SECONDS = 315_576_000_000


def timestamp(time_ms: int) -> Timestamp:
    """Converts a moment in milliseconds since 1970 UTC."""
    seconds, rest_ms = divmod(time_ms, 1_000)
    return Timestamp(seconds=seconds, nanos=rest_ms * _NANO_PER_MS)


def read_timestamp(field: str, moment: Timestamp) -> int:
    """Returns a moment in milliseconds since 1970 UTC, rounded down. `field` is its path within the request.

    Raises:
        InvalidInput: it lies outside the years that the message can have, or its nanos are not within a second.
    """
    try:
        return moment.ToMilliseconds()
    except ValueError as error:
        raise InvalidInput(field, "must lie in the years 1 to 9999") from error


def duration(span_ms: int) -> Duration:
    """Converts a span of time of 0 milliseconds or more."""
    seconds, rest_ms = divmod(span_ms, 1_000)
    return Duration(seconds=seconds, nanos=rest_ms * _NANO_PER_MS)


def read_duration(field: str, span: Duration, *, most_s: int = _MOST_SECONDS) -> int:
    """Returns a span of time in milliseconds. `field` is its path within the request; an unset span is 0.

    Raises:
        InvalidInput: it is negative, longer than `most_s`, or not whole milliseconds.
    """
    span_nanos = span.seconds * _NANO_PER_SECOND + span.nanos
    if not (0 <= span.nanos < _NANO_PER_SECOND and 0 <= span_nanos <= most_s * _NANO_PER_SECOND):
        raise InvalidInput(field, f"must be 0 to {most_s} seconds")
    if span.nanos % _NANO_PER_MS:
        raise InvalidInput(field, "must be whole milliseconds")
    return span.seconds * 1_000 + span.nanos // _NANO_PER_MS


def usd(nano_usd: int) -> Money:
    """Converts an amount of US dollars. Units and nanos have the same sign, as `google.type.Money` demands."""
    sign = -1 if nano_usd < 0 else 1
    units, nanos = divmod(abs(nano_usd), NANO_PER_USD)
    return Money(currency_code="USD", units=sign * units, nanos=sign * nanos)


def nano_usd_of(money: Money) -> int:
    """Returns the amount in nano-USD. The caller checks the currency."""
    return int(money.units) * NANO_PER_USD + int(money.nanos)
