"""Sends spans over OTLP/gRPC from a thread of its own, one request for each batch. Booking never waits for it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from services.kernel.trace_context import Sampling
from services.ledger.adapters.otlp_spans import spans_by_part
from services.ledger.adapters.otlp_wire import export_request
from services.ledger.domain.traced import Traced

_log = logging.getLogger("spendgate.ledger.spans")

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_EXPORT_TIMEOUT_S = 5.0
_STOP_WAIT_S = 2.0
# Batches waiting for a slow receiver: some seconds under load. Others are dropped.
_BATCHES_MAX = 32
_SPANS_OF_ENTRY = 3

Export = Callable[[bytes], int]
"""Sends an ExportTraceServiceRequest. Returns how many of its spans the receiver rejected; raises if it takes none."""


def export_over(channel: grpc.Channel) -> Export:
    """Returns an exporter to the OTLP/gRPC receiver behind a channel. It waits a while for the receiver to come up."""
    call: grpc.UnaryUnaryMultiCallable[bytes, ExportTraceServiceResponse] = channel.unary_unary(
        _EXPORT, response_deserializer=ExportTraceServiceResponse.FromString
    )

    def export(request: bytes) -> int:
        response = call(request, timeout=_EXPORT_TIMEOUT_S, wait_for_ready=True)
        return int(response.partial_success.rejected_spans)

    return export


class OtlpTraces:
    """Makes and sends spans, as `ports.Traces`. Does nothing without a receiver."""

    name = "writing spans"
    """Its name in the log."""

    def __init__(self, export: Export | None, sampling: Sampling) -> None:
        self._export = export
        self._sampling = sampling
        self._waiting: queue.Queue[Traced | None] = queue.Queue(_BATCHES_MAX)
        self._complaint = ""
        self._not_queued = self._not_sent = 0
        self._thread = threading.Thread(target=self._write, name="spans", daemon=True)  # noqa: TID251  (it empties a queue)

    @property
    def dropped(self) -> int:
        """How many spans were lost since the process started, because the receiver was slow, gone, or rejected them."""
        return self._not_queued + self._not_sent

    def start(self) -> None:
        """Starts to write."""
        if self._export is not None:
            self._thread.start()

    def stop(self) -> None:
        """Returns when all waiting spans are sent, or after a short time."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=_STOP_WAIT_S)
            self._thread.join(_STOP_WAIT_S)

    def emit(self, traced: Traced) -> None:
        """Queues the spans of a batch. Never raises, never waits."""
        if not len(traced) or self._export is None:
            return
        try:
            self._waiting.put_nowait(traced)
        except queue.Full:
            self._not_queued += _spans_due(traced)
            self._complain("the receiver of traces is too slow; spans are dropped")

    def _write(self) -> None:
        while (batch := self._waiting.get()) is not None:
            by_service = self._spans_of(batch)
            if by_service and self._export is not None:
                self._send(self._export, by_service)

    def _spans_of(self, batch: Traced) -> dict[str, list[bytes]]:
        by_service: dict[str, list[bytes]] = {}
        for name, make in spans_by_part(batch, self._sampling):
            try:
                made = make()
            except Exception:  # noqa: BLE001  (a span that fails must not take the others along)
                _log.exception("no span for %s", name)
            else:
                for service, span in made:
                    by_service.setdefault(service, []).append(span)
        return by_service

    def _send(self, export: Export, by_service: dict[str, list[bytes]]) -> None:
        try:
            rejected = export(export_request(by_service.items()))
        except Exception as error:  # noqa: BLE001  (a trace that is lost must not end the thread)
            code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
            self._not_sent += sum(map(len, by_service.values()))
            self._complain(f"the receiver of traces takes no spans: {code}; they are dropped")
            return
        self._not_sent += rejected
        self._complain(f"the receiver of traces rejected {rejected} spans" if rejected else "")

    def _complain(self, text: str) -> None:
        """Logs once for as long as the trouble lasts."""
        if text and text != self._complaint:
            _log.warning(text)
        self._complaint = text


def _spans_due(traced: Traced) -> int:
    """How many spans a batch would have, without making them."""
    recorded = sum(1 for entry in traced.entries if entry.call.trace is not None and entry.call.trace.recorded)
    sent = sum(1 for attempt in traced.attempts if attempt.traceparent)
    return _SPANS_OF_ENTRY * recorded + sent + len(traced.unanswered) + len(traced.refusals)
