from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.chassis.grpc_server import open_channel
from services.kernel.trace_context import ALWAYS, NEVER, span_id
from services.ledger.adapters.otlp_export import OtlpTraces, export_over
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.refusal import parse_refusal
from services.ledger.domain.traced import Traced
from tests.worlds.spool_lines import EPOCH, attempt, call, price_of

MODULE = "services.ledger.adapters.otlp_spans"
DECIDED = '{"began_us":1,"took_us":2}'


def request_id(number: int) -> str:
    return f"5ca9213f-1b1f-4da9-99f1-{number:012x}"


def recorded(number: int) -> str:
    return f"00-{number:032x}-b7ad6b7169203331-01"


def entry(number: int, **changed: Any) -> Entry:
    fields = {"id": request_id(number), "traceparent": recorded(number), "decided": DECIDED}
    parsed = call(number, **{**fields, **changed})
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 0)


def batch(*numbers: int) -> Traced:
    """Calls of one attempt each: four spans."""
    sent = [f"00-{number:032x}-{span_id(1, request_id(number))}-01" for number in numbers]
    return Traced(
        entries=[entry(number) for number in numbers],
        attempts=[
            attempt(number, id=request_id(number), traceparent=header)
            for number, header in zip(numbers, sent, strict=True)
        ],
    )


class Receiver:
    """Takes spans once `is_open` is set; while `is_broken` it fails instead."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_broken = False
        self.rejects = 0
        self.requests: list[ExportTraceServiceRequest] = []

    def __call__(self, request: bytes) -> int:
        self.is_open.wait(10)
        if self.is_broken:
            raise ConnectionError
        self.requests.append(ExportTraceServiceRequest.FromString(request))
        return self.rejects

    @property
    def trace_ids(self) -> list[int]:
        """Of the costs of all calls received, in order."""
        return [
            int.from_bytes(span.trace_id)
            for request in self.requests
            for group in request.resource_spans
            if any(each.value.string_value == "spendgate-ledger" for each in group.resource.attributes)
            for span in group.scope_spans[0].spans
        ]

    @property
    def spans(self) -> int:
        return sum(len(group.scope_spans[0].spans) for request in self.requests for group in request.resource_spans)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def traces(receiver: Receiver) -> Iterator[OtlpTraces]:
    writing = OtlpTraces(receiver, ALWAYS)
    writing.start()
    yield writing
    receiver.is_open.set()
    writing.stop()


def test_a_batch_is_sent_in_one_request_that_names_each_service(traces: OtlpTraces, receiver: Receiver) -> None:
    traces.emit(batch(1, 3))
    traces.stop()

    (request,) = receiver.requests
    services = {
        next(each.value.string_value for each in group.resource.attributes if each.key == "service.name"): len(
            group.scope_spans[0].spans
        )
        for group in request.resource_spans
    }
    assert services == {"spendgate-envoy": 4, "spendgate-quota": 2, "spendgate-ledger": 2}


def test_a_batch_of_which_nothing_is_recorded_is_not_sent(traces: OtlpTraces, receiver: Receiver) -> None:
    traces.emit(Traced(entries=[entry(1, traceparent=None)], attempts=[attempt(1)]))
    traces.stop()

    assert receiver.requests == []


def test_a_span_that_fails_takes_no_other_along(
    traces: OtlpTraces, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    traces.emit(Traced(entries=[entry(1, decided="not JSON"), entry(2)]))
    traces.stop()

    assert receiver.trace_ids == [2]
    assert "no span for reservation-1" in caplog.text


def test_a_receiver_that_breaks_is_complained_of_once_and_what_it_lost_is_counted(
    traces: OtlpTraces, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.is_open.clear()
    receiver.is_broken = True
    for number in (1, 2):
        traces.emit(batch(number))
    receiver.is_open.set()
    traces.stop()
    assert [record.message for record in caplog.records] == [
        "the receiver of traces takes no spans: ConnectionError; they are dropped"
    ]
    assert traces.dropped == 8

    receiver.is_broken = False
    again = OtlpTraces(receiver, ALWAYS)
    again.start()
    again.emit(batch(3))
    again.stop()
    assert receiver.trace_ids == [3]


def test_a_slow_receiver_holds_nobody_up_and_what_does_not_fit_is_counted(
    traces: OtlpTraces, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.is_open.clear()
    for number in range(1, 101):
        traces.emit(batch(number))
    receiver.is_open.set()
    traces.stop()

    assert receiver.trace_ids[:10] == list(range(1, 11))
    assert traces.dropped > 0
    assert receiver.spans + traces.dropped == 400
    assert "dropped" in caplog.text


def test_spans_that_the_receiver_rejects_are_counted(
    traces: OtlpTraces, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.rejects = 3
    traces.emit(batch(1))
    traces.stop()

    assert traces.dropped == 3
    assert "rejected 3 spans" in caplog.text


def test_refusals_are_sent_too(traces: OtlpTraces, receiver: Receiver) -> None:
    refusal = parse_refusal({"id": request_id(5), "time": "2026-11-23T20:00:00Z", "status": 404, "path": "/x"})
    traces.emit(Traced(refusals=[refusal]))
    traces.stop()
    assert receiver.spans == 1


def test_nothing_is_computed_without_a_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}.spans_of_entry", lambda _: pytest.fail("computed"))

    silent = OtlpTraces(None, NEVER)
    silent.start()
    silent.emit(batch(1))
    silent.stop()
    assert silent.dropped == 0


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A receiver that has what it says it got, and rejects one span of each request."""

    def __init__(self) -> None:
        self.received: list[ExportTraceServiceRequest] = []

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        self.received.append(request)
        rejected = trace_service_pb2.ExportTracePartialSuccess(rejected_spans=1)
        return trace_service_pb2.ExportTraceServiceResponse(partial_success=rejected)


def test_bytes_reach_a_receiver_as_its_own_messages() -> None:
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with open_channel(f"127.0.0.1:{port}") as channel:
        sent = ExportTraceServiceRequest()
        sent.resource_spans.add().scope_spans.add().spans.add(name="one")
        assert export_over(channel)(sent.SerializeToString()) == 1
    server.stop(None).wait()
    assert collector.received == [sent]
