"""A real OTLP/gRPC receiver that keeps the spans it is sent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class ReceivedSpan:
    """A span, with ids in hex and attributes as plain values."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    attributes: dict[str, Any]
    start_ns: int = 0
    end_ns: int = 0


@dataclass
class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Everything received so far."""

    address: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)

    def Export(self, request: Any, context: Any) -> Any:
        """Takes a batch."""
        for group in request.resource_spans:
            service = _attributes(group.resource.attributes).get("service.name", "")
            for scope in group.scope_spans:
                self.spans.extend(_received(service, span) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, satisfied: Callable[[list[ReceivedSpan]], bool], timeout_s: float = 15.0) -> list[ReceivedSpan]:
        """Returns all spans once they satisfy the condition, or when time is up."""
        deadline = time.monotonic() + timeout_s
        while not satisfied(self.spans) and time.monotonic() < deadline:
            time.sleep(0.1)
        return list(self.spans)


@contextlib.contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Receives on a free loopback port."""
    receiver = OtlpReceiver()
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    receiver.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(grace=0.5).wait()


def _received(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


def check_tree(spans: list[ReceivedSpan], client_span: str = "") -> ReceivedSpan:
    """Fails unless the spans of one trace are one tree below the client's span. Returns the span of the call."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "two spans have one id"
    assert len({span.trace_id for span in spans}) == 1
    (call,) = (span for span in spans if span.parent_span_id not in by_id)
    assert call.parent_span_id == client_span
    for span in spans:
        assert call.start_ns <= span.start_ns <= span.end_ns <= call.end_ns, (span.name, call.name)
    return call
