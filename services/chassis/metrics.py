"""Gauges over OTLP/gRPC, read whenever they are sent. Without a receiver they cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is read when it is sent."""

    name: str
    unit: str
    """In UCUM, where braces hold the counted thing: "{counter}"."""
    description: str
    read: Callable[[], int]


def send_gauges(service: str, otlp_endpoint: str | None, gauges: Sequence[Gauge]) -> Callable[[], None]:
    """Sends `gauges` of `service` ("spendgate-ledger") to the OTLP/gRPC receiver at `otlp_endpoint`, if any.

    Returns a function that sends them one last time and ends this.
    """
    if otlp_endpoint is None:
        return lambda: None
    # Imported here, because OpenTelemetry's SDK takes 4 MB, and without a receiver nobody needs it.
    from services.chassis.metrics_export import export_metrics  # noqa: PLC0415

    return export_metrics(service, otlp_endpoint, gauges)
