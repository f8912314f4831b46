"""One trace: from the client's `traceparent` through Envoy, quota's decision, each attempt, to what it cost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from services.kernel.money import format_usd
from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.otlp_receiver import OtlpReceiver, ReceivedSpan, otlp_receiver

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"chat": {"targets": ["openai/gpt-4o"], "fallbacks": [{"to": ["anthropic/claude-haiku-4-5"]}]}},
    "teams": {"research": {}},
    "policies": [{"name": "research", "match": {"team": "research"}, "limits": [{"spend": 10, "per": "month"}]}],
    "keys": [{"name": "app", "team": "research"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 20 tokens."}]
SERVICES = {"spendgate-envoy", "spendgate-quota", "spendgate-ledger"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiving:
        yield receiving


@pytest.fixture(scope="module")
def gateway(vendors: Providers, receiver: OtlpReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    arguments = ("--otlp", receiver.address)
    with run_gateway(tmp_path_factory.mktemp("trace"), CONFIGURATION, vendors, arguments=arguments) as running:
        yield running


def test_one_trace_holds_the_decision_both_attempts_and_the_cost(
    gateway: Gateway, receiver: OtlpReceiver, providers: Providers
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500))
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)
    gateway.openai("app").chat.completions.create(
        model="chat", messages=ASK, extra_headers={"traceparent": f"00-{trace_id}-{client_span}-01"}
    )
    gateway.settle()
    call = gateway.calls(limit=1)[0]
    assert call["trace_id"] == trace_id

    def complete(spans: list[ReceivedSpan]) -> bool:
        found = [span for span in spans if span.trace_id == trace_id]
        return (
            any(span.parent_span_id == client_span for span in found) and {span.service for span in found} == SERVICES
        )

    spans = [span for span in receiver.wait_for(complete) if span.trace_id == trace_id]
    by_id = {span.span_id: span for span in spans}
    (server,) = [span for span in spans if span.parent_span_id == client_span]
    (decision,) = [span for span in spans if span.service == "spendgate-quota"]
    (cost,) = [span for span in spans if span.service == "spendgate-ledger"]
    assert _leads_to(decision, server, by_id)
    assert cost.parent_span_id == server.span_id
    attempts = [span for span in spans if "http.status_code" in span.attributes and _leads_to(span, server, by_id)]
    assert {str(span.attributes["http.status_code"]) for span in attempts if span is not server} >= {"500", "200"}
    assert format_usd(cost.attributes["spendgate.cost_nano_usd"]) == call["cost_usd"]
    # Each attempt carries the trace on to its provider.
    for vendor in (Vendor.OPENAI, Vendor.ANTHROPIC):
        (received,) = providers.requests(vendor)
        assert received.headers["traceparent"].split("-")[1] == trace_id


def test_a_denial_is_in_the_trace_too(gateway: Gateway, receiver: OtlpReceiver) -> None:
    trace_id = secrets.token_hex(16)
    answer = gateway.http("app").post(
        "/v1/chat/completions",
        json={"model": "unknown", "messages": ASK},
        headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"},
    )
    assert answer.status_code == 404
    spans = receiver.wait_for(
        lambda spans: any(span.trace_id == trace_id and span.service == "spendgate-quota" for span in spans)
    )
    (decision,) = [span for span in spans if span.trace_id == trace_id and span.service == "spendgate-quota"]
    assert "model_not_found" in decision.attributes.values()


def _leads_to(span: ReceivedSpan, ancestor: ReceivedSpan, by_id: dict[str, ReceivedSpan]) -> bool:
    while span.parent_span_id in by_id:
        span = by_id[span.parent_span_id]
        if span is ancestor:
            return True
    return False
