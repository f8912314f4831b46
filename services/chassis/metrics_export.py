"""Sends gauges with OpenTelemetry's SDK. Only a process with a receiver loads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from services.chassis.metrics import Gauge

_EXPORT_INTERVAL_MS = 10_000
_EXPORT_TIMEOUT_S = 5
_STOP_WAIT_MS = 2_000


def export_metrics(service: str, otlp_endpoint: str, gauges: Sequence[Gauge]) -> Callable[[], None]:
    """Sends the gauges until the function that it returns is called, which sends them one last time."""
    exporter = OTLPMetricExporter(endpoint=f"http://{otlp_endpoint}", insecure=True, timeout=_EXPORT_TIMEOUT_S)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=_EXPORT_INTERVAL_MS)
    provider = MeterProvider([reader], resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    meter = provider.get_meter("spendgate")
    for gauge in gauges:
        meter.create_observable_gauge(gauge.name, [_observing(gauge)], gauge.unit, gauge.description)
    return lambda: provider.shutdown(timeout_millis=_STOP_WAIT_MS)


def _observing(gauge: Gauge) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: [Observation(gauge.read())]
