"""Traces over OTLP/gRPC. Telemetry never raises and never affects a decision. Without a receiver it costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

# Spans waiting for a slow receiver. The exporter drops and counts the others.
_QUEUE = 4_096
_EXPORT_DELAY_MS = 500


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The traces of one process."""

    tracer: trace.Tracer
    enabled: bool
    """False: spans are not recorded, so skip computing their attributes."""
    provider: TracerProvider | None

    def shutdown(self) -> None:
        """Sends queued spans."""
        if self.provider is not None:
            self.provider.shutdown()


def configure(service: str, otlp_endpoint: str | None) -> Telemetry:
    """Sends the traces of `service` ("spendgate-quota") to the OTLP/gRPC receiver at `otlp_endpoint`, HOST:PORT."""
    if otlp_endpoint is None:
        return Telemetry(trace.NoOpTracer(), enabled=False, provider=None)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"http://{otlp_endpoint}", insecure=True)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=_QUEUE, schedule_delay_millis=_EXPORT_DELAY_MS)
    )
    return Telemetry(provider.get_tracer("spendgate"), enabled=True, provider=provider)


def parent_of(trace_id: str, span_id: str) -> SpanContext | None:
    """Returns the span context of W3C hex ids (32 and 16 digits), or None if they are not such ids."""
    try:
        context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1))
    except ValueError:
        return None
    return context if context.is_valid and len(trace_id) == 32 and len(span_id) == 16 else None


def parent_of_traceparent(traceparent: str) -> SpanContext | None:
    """Returns the span context of a W3C `traceparent` header (version 00), or None if malformed or not sampled."""
    parts = traceparent.split("-")
    if len(parts) != 4 or not parts[3].endswith(("1", "3", "5", "7", "9", "b", "d", "f")):
        return None
    return parent_of(parts[1], parts[2])


def in_context(parent: SpanContext) -> Context:
    """Returns a context in which new spans are children of `parent`."""
    return trace.set_span_in_context(NonRecordingSpan(parent))
