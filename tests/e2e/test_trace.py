"""One trace: from the client's `traceparent` through Envoy, quota's decision, each attempt, to what it cost."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.kernel.money import format_usd
from services.kernel.trace_context import span_id
from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import ReceivedRequest, Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.otlp_receiver import OtlpReceiver, ReceivedSpan, check_tree, otlp_receiver

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "chat": {"targets": ["openai/gpt-4o"], "fallbacks": [{"to": ["anthropic/claude-haiku-4-5"]}]},
        "vectors": {"targets": ["openai/text-embedding-3-small"]},
    },
    "teams": {"research": {}},
    "policies": [{"name": "research", "match": {"team": "research"}, "limits": [{"spend": 10, "per": "month"}]}],
    "keys": [{"name": "app", "team": "research"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 20 tokens."}]
BODY = {"model": "chat", "messages": ASK}
SERVICES = {"spendgate-envoy", "spendgate-quota", "spendgate-ledger"}
OF_A_CALL = sorted(["POST /v1/chat/completions", "quota.reserve", "chat openai.openai", "chat chat"])
STRANGE = (
    "00-zz-1-01",
    "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    f"00-{'0' * 32}-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiving:
        yield receiving


@pytest.fixture(scope="module")
def gateway(vendors: Providers, receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    arguments = ("--otlp", receiver.address)
    with run_gateway(tmp_path_factory.mktemp("trace"), CONFIGURATION, vendors, arguments=arguments) as running:
        yield running


def traceparent(trace_id: str = "", client_span: str = "", flags: str = "01") -> tuple[str, str, str]:
    """A header, its trace and its span."""
    trace_id, client_span = trace_id or secrets.token_hex(16), client_span or secrets.token_hex(8)
    return f"00-{trace_id}-{client_span}-{flags}", trace_id, client_span


def ask(gateway: Gateway, **headers: str) -> httpx.Response:
    answer = gateway.http("app").post("/v1/chat/completions", json=BODY, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def spans_of(receiver: OtlpReceiver, trace_id: str, count: int) -> list[ReceivedSpan]:
    """The spans of a trace, once there are `count`."""
    received = receiver.wait_for(lambda spans: sum(span.trace_id == trace_id for span in spans) >= count)
    found = [span for span in received if span.trace_id == trace_id]
    assert len(found) == count, [span.name for span in found]
    return found


def sent_on(providers: Providers, vendor: Vendor = Vendor.OPENAI) -> ReceivedRequest:
    """What the provider received."""
    (received,) = providers.requests(vendor)
    return received


def test_one_trace_holds_the_decision_both_attempts_and_the_cost(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500))
    header, trace_id, client_span = traceparent()
    gateway.openai("app").chat.completions.create(model="chat", messages=ASK, extra_headers={"traceparent": header})
    gateway.settle()
    call = gateway.calls(limit=1)[0]
    assert call["trace_id"] == trace_id

    spans = spans_of(receiver, trace_id, 5)
    server = check_tree(spans, client_span)
    assert {span.service for span in spans} == SERVICES
    (decision,) = [span for span in spans if span.service == "spendgate-quota"]
    (cost,) = [span for span in spans if span.service == "spendgate-ledger"]
    attempts = [span for span in spans if span.service == "spendgate-envoy" and span is not server]
    assert {span.parent_span_id for span in (decision, cost, *attempts)} == {server.span_id}
    assert [span.attributes["http.status_code"] for span in sorted(attempts, key=lambda each: each.start_ns)] == [
        500,
        200,
    ]
    assert decision.end_ns <= min(span.start_ns for span in attempts) + 1_000_000
    assert format_usd(cost.attributes["spendgate.cost_nano_usd"]) == call["cost_usd"]
    # Each attempt's provider sees that attempt's own span.
    seen = {sent_on(providers, vendor).headers["traceparent"] for vendor in (Vendor.OPENAI, Vendor.ANTHROPIC)}
    assert seen == {f"00-{trace_id}-{span.span_id}-01" for span in attempts}


def test_the_spans_of_call_attempt_and_cost_say_that_vectors_were_asked_for(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    header, trace_id, client_span = traceparent()
    gateway.openai("app").embeddings.create(model="vectors", input="x", extra_headers={"traceparent": header})
    spans = spans_of(receiver, trace_id, 4)

    check_tree(spans, client_span)
    assert sorted(span.name for span in spans) == [
        "POST /v1/embeddings", "embeddings openai.openai", "embeddings vectors", "quota.reserve",
    ]  # fmt: skip
    assert not [name for name in sent_on(providers).headers if "spendgate" in name]


def test_a_call_without_a_traceparent_begins_a_trace(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    answer = ask(gateway, tracestate="vendor=of-no-trace")
    trace_id = answer.headers["x-trace-id"]
    assert trace_id == answer.headers["x-request-id"].replace("-", "")
    spans = spans_of(receiver, trace_id, 4)
    check_tree(spans)
    assert sorted(span.name for span in spans) == OF_A_CALL
    sent = sent_on(providers).headers
    assert sent["traceparent"] == f"00-{trace_id}-{span_id(1, answer.headers['x-request-id'])}-01"
    assert "tracestate" not in sent
    gateway.settle()
    assert gateway.calls(limit=1)[0]["trace_id"] == trace_id


def test_the_tree_is_whole_if_the_client_itself_records_nothing(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    header, trace_id, client_span = traceparent(flags="00")
    assert ask(gateway, traceparent=header, tracestate="vendor=kept").headers["x-trace-id"] == trace_id
    spans = spans_of(receiver, trace_id, 4)
    check_tree(spans, client_span)
    sent = sent_on(providers).headers
    assert sent["traceparent"].split("-")[3] == "01"
    assert sent["tracestate"] == "vendor=kept"


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_traceparent_begins_a_fresh_trace(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers, strange: str
) -> None:
    answer = ask(gateway, traceparent=strange, tracestate="vendor=of-another")
    trace_id = answer.headers["x-trace-id"]
    assert trace_id == answer.headers["x-request-id"].replace("-", "")
    check_tree(spans_of(receiver, trace_id, 4))
    sent = sent_on(providers).headers
    assert sent["traceparent"].split("-")[1] == trace_id
    assert "tracestate" not in sent


def test_two_traceparents_are_none(gateway: Gateway, receiver: OtlpReceiver, providers: Providers) -> None:
    headers = [("traceparent", traceparent()[0]), ("traceparent", traceparent()[0])]
    answer = gateway.http("app").post("/v1/chat/completions", json=BODY, headers=headers)
    trace_id = answer.headers["x-trace-id"]
    assert trace_id == answer.headers["x-request-id"].replace("-", "")
    check_tree(spans_of(receiver, trace_id, 4))
    assert sent_on(providers).headers["traceparent"].split("-")[1] == trace_id


def test_a_later_version_is_read_as_far_as_it_is_known(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    header, trace_id, client_span = traceparent()
    ask(gateway, traceparent=f"cc{header[2:]}-what-comes-later")
    check_tree(spans_of(receiver, trace_id, 4), client_span)
    assert sent_on(providers).headers["traceparent"].startswith(f"00-{trace_id}-")


def test_a_denial_is_in_the_trace_too(gateway: Gateway, receiver: OtlpReceiver) -> None:
    header, trace_id, client_span = traceparent()
    answer = gateway.http("app").post(
        "/v1/chat/completions", json={"model": "unknown", "messages": ASK}, headers={"traceparent": header}
    )
    assert answer.status_code == 404
    assert answer.headers["x-trace-id"] == answer.json()["error"]["details"]["trace_id"] == trace_id
    spans = spans_of(receiver, trace_id, 2)
    server = check_tree(spans, client_span)
    (decision,) = [span for span in spans if span.service == "spendgate-quota"]
    assert decision.attributes == {
        "gen_ai.request.model": "unknown",
        "spendgate.decision": "deny",
        "spendgate.decision.reason": "model_not_found",
    }
    assert server.attributes["http.status_code"] == 404
    assert server.attributes["spendgate.decision"] == "deny"


@pytest.mark.parametrize("given", [True, False])
def test_what_envoy_itself_refuses_names_its_trace_and_has_a_span(
    gateway: Gateway, receiver: OtlpReceiver, *, given: bool
) -> None:
    for path, body in (("/v1/nowhere", b"{}"), ("/v1/chat/completions", b"{")):
        header, trace_id, client_span = traceparent()
        answer = gateway.http("app").post(path, content=body, headers={"traceparent": header} if given else {})
        assert answer.status_code in {400, 404}
        if not given:
            trace_id, client_span = answer.headers["x-request-id"].replace("-", ""), ""
        assert answer.headers["x-trace-id"] == trace_id
        server = check_tree(spans_of(receiver, trace_id, 1), client_span)
        assert (server.name, server.attributes["http.status_code"]) == (f"POST {path}", answer.status_code)


def test_a_flood_of_refusals_is_sampled_and_the_rest_is_counted(vendors: Providers, tmp_path: Path) -> None:
    # On a gateway of its own, since the flood uses up the spans that the refusals of other tests need.
    with ExitStack() as stack:
        receiver = stack.enter_context(otlp_receiver())
        arguments = ("--otlp", receiver.address)
        gateway = stack.enter_context(run_gateway(tmp_path, CONFIGURATION, vendors, arguments=arguments))
        count, before = 2_000, gateway.status().refusals_without_spans
        address = httpx.URL(gateway.url)
        clients = [
            stack.enter_context(socket.create_connection((address.host, address.port or 0), timeout=30))
            for _ in range(8)
        ]
        for _ in range(count // len(clients)):
            for client in clients:
                client.sendall(b"GET /v1/flood HTTP/1.1\r\nhost: gateway\r\n\r\n")
            for client in clients:
                assert client.recv(1 << 16).startswith(b"HTTP/1.1 404")

        def seen(spans: list[ReceivedSpan]) -> int:
            return sum(span.name == "GET /v1/flood" for span in spans)

        def left_out() -> int:
            return gateway.status().refusals_without_spans - before  # type: ignore[no-any-return]

        assert seen(receiver.wait_for(lambda spans: seen(spans) + left_out() == count)) + left_out() == count
        assert left_out() > 0
        assert gateway.status().dropped_spans == 0


@pytest.mark.parametrize("sampling", ["", "client"])
def test_what_nobody_records_keeps_its_trace_and_its_header(
    vendors: Providers, providers: Providers, tmp_path: Any, sampling: str
) -> None:
    with otlp_receiver() as receiving:
        arguments = ("--otlp", receiving.address) if sampling else ()
        environment = {"SPENDGATE_TRACE_SAMPLING": sampling} if sampling else {}
        with run_gateway(tmp_path, CONFIGURATION, vendors, arguments=arguments, environment=environment) as gateway:
            header, trace_id, _ = traceparent(flags="00" if sampling else "01")
            assert ask(gateway, traceparent=header).headers["x-trace-id"] == trace_id
            assert sent_on(providers).headers["traceparent"] == header
            assert gateway.http().get("/v1/nowhere", headers={"traceparent": header}).headers["x-trace-id"] == trace_id
            providers.reset()
            fresh = ask(gateway, traceparent=STRANGE[0]).headers["x-trace-id"]
            gateway.settle()
            assert [call["trace_id"] for call in gateway.calls(limit=2)] == [fresh, trace_id]
            if sampling:
                check_tree(spans_of(receiving, fresh, 4))
            else:
                assert "traceparent" not in sent_on(providers).headers
        recorded = {span.trace_id for span in receiving.spans}
        assert (trace_id in recorded, fresh in recorded) == (False, bool(sampling))
