"""Times and durations, as the command line reads and writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from services.cli.configuration.scalars import read_time
from services.cli.problems import Misuse
from services.kernel.clock import Clock

_SPAN = re.compile(r"(\d{1,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_since(option: str, text: str, clock: Clock) -> Timestamp:
    """Reads a moment in the past: a span back from now like 7d, or a time like 2027-01-31T00:00:00Z.

    Raises:
        Misuse: it is neither.
    """
    return _timestamp(option, text, clock, direction=-1)


def parse_until(option: str, text: str, clock: Clock) -> Timestamp:
    """Reads a moment in the future: a span from now like 30d, or a time like 2027-01-31T00:00:00Z.

    Raises:
        Misuse: it is neither.
    """
    return _timestamp(option, text, clock, direction=1)


def rfc3339(timestamp: Timestamp) -> str:
    """Formats a time as RFC 3339 in UTC."""
    return timestamp.ToJsonString()


def optional_rfc3339(message: object, field: str) -> str | None:
    """Formats a timestamp field as RFC 3339 in UTC, or returns None when it is not set."""
    timestamp: Timestamp = getattr(message, field)
    return rfc3339(timestamp) if timestamp.seconds or timestamp.nanos else None


def readable_time(timestamp: Timestamp) -> str:
    """Formats a time for a table: whole seconds in UTC, empty when it is not set."""
    if not timestamp.seconds:
        return ""
    return datetime.fromtimestamp(timestamp.seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _timestamp(option: str, text: str, clock: Clock, *, direction: int) -> Timestamp:
    match = _SPAN.fullmatch(text)
    if match:
        now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        moment = now + direction * timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        try:
            moment = read_time(text)
        except ValueError as error:
            raise Misuse(
                f"{option} {text!r}: write a span like 7d or 12h, or a time like 2027-01-31T00:00:00Z"
            ) from error
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
