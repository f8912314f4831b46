"""Exports one cost span for each booked call, in the call's trace.

Names follow OpenTelemetry's GenAI conventions (semantic-conventions-genai, in development; the Python constants are
deprecated as moved, so the names are spelled out here). The conventions have no name for cost yet:
`gen_ai.usage.cost.*` is proposed, a double, and `spendgate.cost_nano_usd` is exact.

The spans are written directly as OTLP messages, one request for each booked batch. A span of the SDK costs five times
as much. The clocks, samplers and processors that it adds serve spans that begin and end while the process runs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource

from services.kernel.money import NANO_PER_USD
from services.ledger.domain.entry import Entry

_log = logging.getLogger("spendgate.ledger.spans")

_NANO_PER_MILLI = 1_000_000
# W3C's "sampled"; OTLP's "it is known whether the parent is remote" and "the parent is remote" (trace.proto,
# SpanFlags).
_FLAGS = 0x001 | 0x100 | 0x200
_SCOPE = InstrumentationScope(name="spendgate")
_EXPORT_TIMEOUT_S = 5.0
_STOP_WAIT_S = 2.0
# Batches waiting for a slow receiver: some seconds under load. Others are dropped.
_BATCHES_MAX = 32
# Callers and their models: mostly the same few.
_KNOWN_TEXTS_MAX = 4_096
# The convention's names for vendors whose preset has another name.
_PROVIDER_NAMES = {
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
}
Attribute = str | int | float | bool
Export = Callable[[ExportTraceServiceRequest], object]
"""Sends spans to a receiver. Raises when the receiver does not accept them."""


def export_over(channel: grpc.Channel) -> Export:
    """Returns an exporter to the OTLP/gRPC receiver behind a channel. It waits a while for the receiver to come up."""
    stub = TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated without types
    return lambda request: stub.Export(request, timeout=_EXPORT_TIMEOUT_S, wait_for_ready=True)


class OtlpCostSpans:
    """Writes spans in a thread of its own, as `ports.CostSpans`. Does nothing without a receiver."""

    name = "writing spans"
    """Its name in the log."""

    def __init__(self, service: str, export: Export | None) -> None:
        self._export = export
        self._resource = resource_pb2.Resource(
            attributes=[
                KeyValue(key=name, value=AnyValue(string_value=str(value)))
                for name, value in Resource.create({"service.name": service}).attributes.items()
            ]
        )
        self._waiting: queue.Queue[Sequence[Entry] | None] = queue.Queue(_BATCHES_MAX)
        self._complaint = ""
        self._thread = threading.Thread(target=self._write, name="spans", daemon=True)  # noqa: TID251  (it empties a queue)

    def start(self) -> None:
        """Starts writing."""
        if self._export is not None:
            self._thread.start()

    def stop(self) -> None:
        """Returns when all waiting spans are sent, or after a short time."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=_STOP_WAIT_S)
            self._thread.join(_STOP_WAIT_S)

    def emit(self, entries: Sequence[Entry]) -> None:
        """Queues one span for each entry that belongs to a trace. Never raises, never waits."""
        if not entries or self._export is None:
            return
        try:
            self._waiting.put_nowait(entries)
        except queue.Full:
            self._complain("the receiver of traces is too slow; spans are dropped")

    def _write(self) -> None:
        while (batch := self._waiting.get()) is not None:
            if spans := list(_spans_of(batch)):
                self._send(spans)

    def _send(self, spans: list[Span]) -> None:
        request = ExportTraceServiceRequest()
        # In place, because putting a message into another copies it.
        of_service = request.resource_spans.add(resource=self._resource)
        of_service.scope_spans.add(scope=_SCOPE).spans.extend(spans)
        try:
            if self._export is not None:
                self._export(request)
            self._complaint = ""
        except Exception as error:  # noqa: BLE001  (a trace that is lost must not end the thread)
            code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
            self._complain(f"the receiver of traces takes no spans: {code}; they are dropped")

    def _complain(self, text: str) -> None:
        """Logs once for as long as the trouble lasts."""
        if text != self._complaint:
            _log.warning(text)
        self._complaint = text


def _spans_of(batch: Sequence[Entry]) -> Iterator[Span]:
    for entry in batch:
        try:
            span = span_of(entry)
        except Exception:  # noqa: BLE001  (a span that fails must not take the others along)
            _log.exception("no span for call %s", entry.id)
        else:
            if span is not None:
                yield span


def span_of(entry: Entry) -> Span | None:
    """Returns the span of an entry, or None when its call belongs to no trace."""
    call = entry.call
    trace_id, parent_id = _id(call.trace_id, 16), _id(call.span_id, 8)
    if trace_id is None or parent_id is None:
        return None
    attributes = attributes_of(entry)
    status = None
    if call.status >= 400 or not call.status:
        attributes["error.type"] = str(call.status) if call.status else "client_left"
        status = Status(code=Status.STATUS_CODE_ERROR)
    span = Span(
        trace_id=trace_id,
        span_id=secrets.token_bytes(8),
        parent_span_id=parent_id,
        flags=_FLAGS,
        name=f"chat {call.model_requested}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=call.time_ms * _NANO_PER_MILLI,
        end_time_unix_nano=entry.end_ms * _NANO_PER_MILLI,
        status=status,
    )
    _write_attributes(span, attributes)
    return span


def attributes_of(entry: Entry) -> dict[str, Attribute]:
    """Returns the span's attributes. An unknown cost is left out, never zero."""
    call, charge = entry.call, entry.charge
    provider, _, model = charge.target.partition("/")
    attributes: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDER_NAMES.get(provider, provider),
        "gen_ai.request.model": call.model_requested,
        "gen_ai.request.stream": call.stream,
        "gen_ai.response.model": call.response_model or model,
        "gen_ai.usage.input_tokens": charge.usage.input_tokens,
        "gen_ai.usage.output_tokens": charge.usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": charge.usage.cached_input_tokens,
        "gen_ai.usage.cache_write.input_tokens": (
            charge.usage.cache_write_5m_tokens + charge.usage.cache_write_1h_tokens
        ),
        "gen_ai.usage.reasoning.output_tokens": charge.usage.reasoning_tokens,
        "spendgate.team": call.caller.team,
        "spendgate.project": call.caller.project,
        "spendgate.environment": call.caller.environment,
        "spendgate.user": call.caller.user,
        "spendgate.key.id": call.caller.key_id,
        "spendgate.model.served": charge.target,
        "spendgate.decision": call.decision,
        "spendgate.reservation.id": entry.id,
        "spendgate.usage.source": charge.source.value,
        "spendgate.attempts": call.attempts,
    }
    if call.policy:
        attributes["spendgate.policy"] = call.policy
    if charge.cost_nano_usd is not None:
        attributes["spendgate.cost_nano_usd"] = charge.cost_nano_usd
        attributes["gen_ai.usage.cost.amount"] = charge.cost_nano_usd / NANO_PER_USD
        attributes["gen_ai.usage.cost.currency"] = "USD"
        attributes["gen_ai.usage.cost.source"] = "local"
    return attributes


def _write_attributes(span: Span, attributes: Mapping[str, Attribute]) -> None:
    """Writes attributes in any order: it has no meaning."""
    numbers = []
    texts = []
    for name, value in attributes.items():
        if isinstance(value, str):
            texts.append(_text_in_span(name, value))
        else:
            numbers.append((name, value))
    # Encoded parts may be joined, by protobuf's encoding of repeated fields.
    span.MergeFromString(b"".join(texts))
    for name, number in numbers:
        written = span.attributes.add(key=name).value
        if isinstance(number, bool):
            written.bool_value = number
        elif isinstance(number, int):
            written.int_value = number
        else:
            written.double_value = number


@lru_cache(_KNOWN_TEXTS_MAX)
def _text_in_span(name: str, value: str) -> bytes:
    return Span(attributes=[KeyValue(key=name, value=AnyValue(string_value=value))]).SerializeToString()


def _id(text: str, size_bytes: int) -> bytes | None:
    """Returns the bytes of a W3C id in hex, or None when `text` is not one."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        return None
    return value if len(value) == size_bytes and any(value) else None
