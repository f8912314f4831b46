"""Faults on request: for the next requests, or until they are cleared."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """The kind of failure."""

    STATUS = "status"
    """The vendor's error with `status`, and `retry-after` if `retry_after_s` is set."""
    SLOW_FIRST_BYTE = "slow_first_byte"
    """The answer starts after `delay_ms`."""
    STALL = "stall"
    """A stream pauses for `delay_ms` after `after_events` events."""
    CUT = "cut"
    """The connection breaks after `after_events` events of a stream, or in the middle of a document."""
    LATE_END = "late_end"
    """A stream ends `delay_ms` after its last event, as if its last packet were lost."""
    NO_USAGE = "no_usage"
    """The answer carries no usage."""
    OVERBILL = "overbill"
    """The answer claims `factor` times the output tokens that the request allows."""
    SPLIT = "split"
    """Each event of a stream arrives in two pieces."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault."""

    kind: FaultKind
    times: int | None = 1
    """How many requests it affects. None: all, until it is cleared."""
    model: str | None = None
    """Affects only requests for this model."""
    status: int = 500
    retry_after_s: float | None = None
    delay_ms: int = 0
    after_events: int = 2
    factor: int = 1


def fault_from(document: Mapping[str, Any]) -> Fault:
    """Reads a fault of the control API: the fields of `Fault`.

    Raises:
        ValueError: a field or the kind is unknown.
    """
    known = {name: value for name, value in document.items() if name != "kind"}
    try:
        return Fault(kind=FaultKind(document.get("kind", "")), **known)
    except TypeError as error:
        raise ValueError(str(error)) from error


class FaultScript:
    """Faults waiting for requests, in order. A request gets the first that fits it."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Appends faults."""
        self._waiting.extend(faults)

    def clear(self) -> None:
        """Removes all faults."""
        self._waiting.clear()

    def next_for(self, model: str) -> Fault | None:
        """Takes the fault for a request to `model`."""
        for at, fault in enumerate(self._waiting):
            if fault.model in {None, model}:
                if fault.times is not None:
                    if fault.times > 1:
                        self._waiting[at] = replace(fault, times=fault.times - 1)
                    else:
                        del self._waiting[at]
                return fault
        return None


@dataclass(frozen=True, slots=True)
class Latency:
    """The delay of answers. By default they come at once."""

    first_byte_p50_ms: float = 0.0
    first_byte_p95_ms: float = 0.0
    event_ms: float = 0.0
    """Between two events of a stream."""

    def first_byte_s(self, source: random.Random) -> float:
        """Draws a delay in seconds from the log-normal distribution with these percentiles."""
        if self.first_byte_p50_ms <= 0:
            return 0.0
        # The 95th percentile of a log-normal lies 1.645 deviations above the median.
        ratio = max(self.first_byte_p95_ms / self.first_byte_p50_ms, 1.0)
        spread = ratio ** (1 / 1.645)
        return float(self.first_byte_p50_ms * spread ** source.gauss(0, 1) / 1000)
