"""Envoy's spans at a real OTLP/gRPC receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.kernel.dialect import Dialect
from tests.worlds.data_plane import PROVIDER_KEY, VIRTUAL_KEY, DataPlane
from tests.worlds.data_plane_provider import Answer

pytestmark = pytest.mark.e2e

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
COMPLETION = {
    "model": "main-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 36, "completion_tokens": 7, "total_tokens": 43},
}


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: str) -> list[Any]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]


@pytest.fixture(scope="module")
def receiver_and_plane() -> Iterator[tuple[Receiver, DataPlane]]:
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with DataPlane(otlp=("127.0.0.1", port)) as plane:
        plane.add_provider("second")
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.publish()
        plane.wait(lambda: "gem.gemini" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield receiver, plane
    server.stop(0).wait()


def attributes(span: Any) -> dict[str, Any]:
    values = {}
    for item in span.attributes:
        kind = item.value.WhichOneof("value")
        values[item.key] = getattr(item.value, kind)
    return values


def test_a_call_is_one_trace_from_the_client_to_each_attempt(
    receiver_and_plane: tuple[Receiver, DataPlane],
) -> None:
    receiver, plane = receiver_and_plane
    plane.quota.decide = lambda _: plane.allow("main", "second")
    plane.provider("main").answer = lambda _: Answer(status=500)
    plane.provider("second").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    plane.client.post("/v1/chat/completions", json=CHAT, headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
    plane.wait(lambda: len(receiver.of(TRACE_ID)) == 4, "four spans arrive", seconds=10)
    spans = receiver.of(TRACE_ID)
    (server,) = (span for span in spans if span.parent_span_id.hex() == PARENT_ID)
    children = [span for span in spans if span is not server]
    assert {span.parent_span_id for span in children} == {server.span_id}
    seen = attributes(server)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "asked", "gen_ai.response.model": "main-model",
        "gen_ai.usage.input_tokens": 36, "gen_ai.usage.output_tokens": 7, "spendgate.team": "blue",
        "spendgate.environment": "prod", "spendgate.key.id": "key_1", "spendgate.reservation.id": "rsv_1",
        "spendgate.decision": "allow", "spendgate.policy.binding": "blue-prod", "spendgate.attempts": 2,
        "spendgate.target": "second/up",
    }  # fmt: skip
    assert seen | expected == seen
    (call,) = plane.calls()
    assert (call["trace_id"], call["span_id"]) == (TRACE_ID, server.span_id.hex())
    check = plane.quota.checks[-1].attributes.request.http.headers["traceparent"]
    assert check.split("-")[1] == TRACE_ID
    (attempt,) = plane.provider("second").received
    assert attempt.headers["traceparent"].split("-")[1] == TRACE_ID


def test_no_key_is_in_any_span(receiver_and_plane: tuple[Receiver, DataPlane]) -> None:
    receiver, plane = receiver_and_plane
    trace_id = TRACE_ID.replace("0a", "0b", 1)
    plane.quota.decide = lambda _: plane.allow("gem", targets=[{"path": "/v1beta/models/g:generateContent?x=1"}])
    before = len(receiver.spans)
    for path in ("/v1beta/models/asked:generateContent", "/v1/nothing"):
        plane.client.post(
            f"{path}?key={VIRTUAL_KEY}",
            json={"contents": []},
            headers={"traceparent": f"00-{trace_id}-{PARENT_ID}-01", "x-goog-api-key": ""},
        )
    plane.wait(lambda: len(receiver.spans) >= before + 4, "spans arrive", seconds=10)
    assert VIRTUAL_KEY not in str(receiver.spans)
    assert PROVIDER_KEY not in str(receiver.spans)
    assert VIRTUAL_KEY not in plane.spool_text() + plane.refused_text() + plane.envoy_log()


def test_an_answer_names_its_trace_and_every_answer_its_request(receiver_and_plane: tuple[Receiver, DataPlane]) -> None:
    _, plane = receiver_and_plane
    plane.quota.decide = lambda _: plane.allow("main")
    plane.provider("main").answer = lambda _: Answer(body=json.dumps(COMPLETION).encode())
    parent = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
    answered = plane.client.post("/v1/chat/completions", json=CHAT, headers=parent)
    nowhere = plane.client.get("/nowhere", headers=parent)
    unreadable = plane.client.post("/v1/chat/completions", content=b"{", headers=parent)
    assert (answered.status_code, nowhere.status_code, unreadable.status_code) == (200, 404, 400)
    assert answered.headers["x-trace-id"] == TRACE_ID
    for response in (answered, nowhere, unreadable):
        assert response.headers["request-id"] == response.headers["x-request-id"]
