"""Gauges over OTLP/gRPC, read whenever they are sent. Without a receiver they cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

_EXPORT_INTERVAL_MS = 10_000
_EXPORT_TIMEOUT_S = 5
_STOP_WAIT_MS = 2_000


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is read when it is sent."""

    name: str
    unit: str
    """In UCUM, where braces hold the counted thing: "{counter}"."""
    description: str
    read: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The gauges of one process."""

    provider: MeterProvider | None

    def shutdown(self) -> None:
        """Sends them one last time."""
        if self.provider is not None:
            self.provider.shutdown(timeout_millis=_STOP_WAIT_MS)


def configure_metrics(service: str, otlp_endpoint: str | None, gauges: Sequence[Gauge]) -> Metrics:
    """Sends `gauges` of `service` ("spendgate-ledger") to the OTLP/gRPC receiver at `otlp_endpoint`, if any."""
    if otlp_endpoint is None:
        return Metrics(None)
    exporter = OTLPMetricExporter(endpoint=f"http://{otlp_endpoint}", insecure=True, timeout=_EXPORT_TIMEOUT_S)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_EXPORT_INTERVAL_MS)
    provider = MeterProvider([reader], resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    meter = provider.get_meter("spendgate")
    for gauge in gauges:
        meter.create_observable_gauge(gauge.name, [_observing(gauge)], gauge.unit, gauge.description)
    return Metrics(provider)


def _observing(gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(gauge.read())]
