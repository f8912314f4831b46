from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from services.kernel.trace_context import ALWAYS, BY_CLIENT, CALL_SPAN, COST_SPAN, DECISION_SPAN, NEVER, span_id
from services.ledger.adapters.otlp_spans import (
    MadeSpan,
    spans_of_attempt,
    spans_of_entry,
    spans_of_refusal,
    spans_of_unanswered,
)
from services.ledger.domain.charge import charge_call
from services.ledger.domain.entry import Entry
from services.ledger.domain.refusal import parse_refusal
from tests.worlds.spool_lines import EPOCH, attempt, call, price_of

REQUEST_ID = "5ca9213f-1b1f-4da9-99f1-e8d52416c941"
TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CLIENT}-01"
TIME = "2026-11-23T20:00:00.123456Z"
TIME_NS = 1_795_464_000_123_456_000
DECIDED = {
    "began_us": TIME_NS // 1_000 + 200,
    "took_us": 350,
    "reason": "within_limits",
    "policies": "ds-prod,everybody",
    "held_nano_usd": 43_460_000,
}


def entry(**changed: Any) -> Entry:
    fields = {
        "id": REQUEST_ID, "time": TIME, "traceparent": TRACEPARENT, "decided": json.dumps(DECIDED),
        "duration_us": 850_321, "trace_id": None, "span_id": None,
    }  # fmt: skip
    parsed = call(7, **{**fields, **changed})
    return Entry(parsed, charge_call(parsed, (), price_of), EPOCH, 0)


def read(made: list[MadeSpan]) -> dict[str, Span]:
    """Spans by their service."""
    return {service: Span.FromString(encoded) for service, encoded in made}


def spans(**changed: Any) -> dict[str, Span]:
    return read(spans_of_entry(entry(**changed)))


def written(span: Span) -> dict[str, Any]:
    """Attributes as they were written, with their types."""
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value") or ""
        value = getattr(each.value, kind)
        found[each.key] = tuple(one.string_value for one in value.values) if kind == "array_value" else value
    assert len(found) == len(span.attributes)
    return found


def refusal(**changed: Any) -> Any:
    fields = {
        "time": TIME, "id": REQUEST_ID, "status": 429, "duration_ms": 1, "duration_us": 1_234, "method": "POST",
        "path": "/v1/chat/completions", "traceparent": TRACEPARENT,
    }  # fmt: skip
    return parse_refusal({**fields, **changed})


def test_a_call_has_three_spans_of_its_own_each_of_the_service_that_did_the_work() -> None:
    made = spans()

    server, decision, cost = made["spendgate-envoy"], made["spendgate-quota"], made["spendgate-ledger"]
    assert len(made) == 3
    assert {span.trace_id.hex() for span in made.values()} == {TRACE}
    assert (server.parent_span_id.hex(), server.span_id.hex()) == (CLIENT, span_id(CALL_SPAN, REQUEST_ID))
    assert decision.span_id.hex() == span_id(DECISION_SPAN, REQUEST_ID)
    assert cost.span_id.hex() == span_id(COST_SPAN, REQUEST_ID)
    assert decision.parent_span_id == cost.parent_span_id == server.span_id
    assert [server.name, decision.name, cost.name] == ["POST /v1/chat/completions", "quota.reserve", "chat gpt-4o"]
    assert [server.kind, decision.kind, cost.kind] == [
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_CLIENT,
    ]


def test_spans_last_as_long_as_what_they_show() -> None:
    made = spans()

    for service in ("spendgate-envoy", "spendgate-ledger"):
        span = made[service]
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (TIME_NS, TIME_NS + 850_321_000)
    decision = made["spendgate-quota"]
    assert (decision.start_time_unix_nano, decision.end_time_unix_nano) == (TIME_NS + 200_000, TIME_NS + 550_000)


def test_a_line_that_is_read_twice_makes_the_same_spans() -> None:
    assert spans_of_entry(entry()) == spans_of_entry(entry())


def test_the_first_span_of_a_trace_has_no_parent() -> None:
    made = spans(traceparent=f"00-{TRACE}-{'0' * 16}-01")
    assert made["spendgate-envoy"].parent_span_id == b""


@pytest.mark.parametrize(
    ("dialect", "stream", "route"),
    [
        ("openai", True, "/v1/chat/completions"),
        ("anthropic", False, "/v1/messages"),
        ("gemini", False, "/v1beta/models/{model}:generateContent"),
        ("gemini", True, "/v1beta/models/{model}:streamGenerateContent"),
    ],
)
def test_a_call_is_named_after_its_route(dialect: str, route: str, *, stream: bool) -> None:
    server = spans(dialect=dialect, stream=stream)["spendgate-envoy"]
    assert server.name == f"POST {route}"
    assert written(server)["http.route"] == route


def test_attributes_of_the_call_say_who_asked_for_what_and_how_it_ended() -> None:
    assert written(spans()["spendgate-envoy"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100,
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "http.status_code": 200,
        "spendgate.reservation.id": "reservation-7",
        "spendgate.target": "openai/gpt-4o",
        "spendgate.attempts": 1,
        "spendgate.decision": "allow",
        "spendgate.policy.binding": "ds-prod",
        "spendgate.key.id": "key_1",
        "spendgate.team": "data-science",
        "spendgate.project": "forecasting",
        "spendgate.environment": "prod",
        "spendgate.user": "ada@example.com",
    }


def test_attributes_of_the_decision_say_why_and_what_it_holds() -> None:
    decided = {**DECIDED, "output_cap_tokens": 90, "shadowed": "trial,+2"}
    assert written(spans(decided=json.dumps(decided))["spendgate-quota"]) == {
        "gen_ai.request.model": "gpt-4o",
        "spendgate.decision": "allow",
        "spendgate.decision.reason": "within_limits",
        "spendgate.policy.binding": "ds-prod",
        "spendgate.policy.ids": ("ds-prod", "everybody"),
        "spendgate.policy.shadowed": ("trial", "+2"),
        "spendgate.output_cap_tokens": 90,
        "spendgate.reservation.id": "reservation-7",
        "spendgate.reservation.amount_usd": "0.043460000",
        "spendgate.chain": ("openai/gpt-4o", "lab/tiny"),
        "spendgate.key.id": "key_1",
        "spendgate.team": "data-science",
        "spendgate.project": "forecasting",
        "spendgate.environment": "prod",
        "spendgate.user": "ada@example.com",
    }


def test_attributes_of_the_cost_name_who_what_and_how_much() -> None:
    made = spans(cached_tokens="400", cache_creation_tokens="300", reasoning_tokens="60")
    assert written(made["spendgate-ledger"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": False,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.cache_write.input_tokens": 300,
        "gen_ai.usage.reasoning.output_tokens": 60,
        "gen_ai.usage.cost.amount": 0.003,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
        "spendgate.cost_nano_usd": 3_000_000,
        "spendgate.team": "data-science",
        "spendgate.project": "forecasting",
        "spendgate.environment": "prod",
        "spendgate.user": "ada@example.com",
        "spendgate.key.id": "key_1",
        "spendgate.model.served": "openai/gpt-4o",
        "spendgate.decision": "allow",
        "spendgate.policy": "ds-prod",
        "spendgate.reservation.id": "reservation-7",
        "spendgate.usage.source": "provider",
        "spendgate.attempts": 1,
    }


def test_an_unknown_cost_is_left_out() -> None:
    attributes = written(spans(chain="gemini/pro")["spendgate-ledger"])

    assert [name for name in attributes if "cost" in name] == []
    assert attributes["gen_ai.provider.name"] == "gcp.gemini"


@pytest.mark.parametrize(("status", "error"), [(500, "500"), (0, "client_left")])
def test_a_call_that_failed_says_so(status: int, error: str) -> None:
    made = spans(status=status)

    assert made["spendgate-envoy"].status.code == Status.STATUS_CODE_ERROR
    assert made["spendgate-ledger"].status.code == Status.STATUS_CODE_ERROR
    assert written(made["spendgate-ledger"])["error.type"] == error


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"usage": {"meter": "open", "input_tokens": 9, "error": "overloaded_error"}}, "overloaded_error"),
        ({"usage": {"meter": "none", "error": "ended_early"}}, "ended_early"),
        ({"flags": "UPE", "details": "upstream_reset_after_response_started{x}"}, "provider_cut"),
    ],
)
def test_a_call_whose_answer_broke_says_so_although_its_status_is_good(changed: dict[str, Any], error: str) -> None:
    made = spans(**changed)

    assert made["spendgate-envoy"].status.code == Status.STATUS_CODE_ERROR
    assert made["spendgate-ledger"].status.code == Status.STATUS_CODE_ERROR
    assert written(made["spendgate-ledger"])["error.type"] == error


@pytest.mark.parametrize("traceparent", [f"00-{TRACE}-{CLIENT}-00", f"00-{TRACE}-{CLIENT}-02", None, "xyz"])
def test_a_call_whose_trace_is_not_recorded_has_no_span(traceparent: str | None) -> None:
    assert spans(traceparent=traceparent) == {}


def test_a_line_of_the_release_before_has_no_spans_and_keeps_its_trace() -> None:
    old = entry(traceparent=None, decided=None, duration_us=None, trace_id=TRACE, span_id=CLIENT)
    assert (old.call.trace_id, old.call.span_id) == (TRACE, CLIENT)
    assert spans_of_entry(old) == []


def test_a_call_whose_decision_is_unknown_has_the_other_spans() -> None:
    assert set(spans(decided=None)) == {"spendgate-envoy", "spendgate-ledger"}


def test_a_client_that_left_does_not_make_a_call_end_before_its_attempts() -> None:
    """Envoy then knows milliseconds only, rounded down."""
    server = spans(duration_us=None, duration_ms=850)["spendgate-envoy"]
    assert server.end_time_unix_nano - server.start_time_unix_nano == 850_999_000


@pytest.mark.parametrize(("status", "error"), [(200, None), (500, "500"), (0, "refused")])
def test_an_attempt_is_a_child_of_its_call(status: int, error: str | None) -> None:
    own = span_id(2, REQUEST_ID)
    tried = attempt(
        7, 2, id=REQUEST_ID, time=TIME, duration_us=800_123, traceparent=f"00-{TRACE}-{own}-01", status=status,
        flags="UF" if not status else "-", failure="refused" if not status else None,
    )  # fmt: skip
    made = read(spans_of_attempt(tried))["spendgate-envoy"]

    assert (made.trace_id.hex(), made.span_id.hex()) == (TRACE, own)
    assert made.parent_span_id.hex() == span_id(CALL_SPAN, REQUEST_ID)
    assert (made.name, made.kind) == ("chat openai.openai", Span.SPAN_KIND_CLIENT)
    assert (made.start_time_unix_nano, made.end_time_unix_nano) == (TIME_NS, TIME_NS + 800_123_000)
    attributes = written(made)
    assert attributes["spendgate.attempt"] == 2
    assert attributes.get("http.status_code") == attributes.get("http.response.status_code") == (status or None)
    assert attributes.get("error.type") == error
    assert (made.status.code == Status.STATUS_CODE_ERROR) is (error is not None)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (None, "chat"),
        ("responses", "chat"),
        ("completions", "text_completion"),
        ("batch_embeddings", "embeddings"),
        ("count_tokens", "count_tokens"),
        ("moderations", "moderations"),
    ],
)
def test_call_and_attempt_name_what_was_asked_in_the_conventions_words(operation: str | None, name: str) -> None:
    own = f"00-{TRACE}-{span_id(2, REQUEST_ID)}-01"
    tried = read(spans_of_attempt(attempt(7, 2, id=REQUEST_ID, traceparent=own, operation=operation)))
    made = spans(operation=operation)

    assert tried["spendgate-envoy"].name == f"{name} openai.openai"
    assert made["spendgate-ledger"].name == f"{name} gpt-4o"
    shown = (tried["spendgate-envoy"], made["spendgate-envoy"], made["spendgate-ledger"])
    assert {written(span)["gen_ai.operation.name"] for span in shown} == {name}


@pytest.mark.parametrize("traceparent", [None, "-", TRACEPARENT, f"00-{TRACE}-{span_id(1, REQUEST_ID)}-01"])
def test_an_attempt_that_does_not_carry_its_own_span_has_none(traceparent: str | None) -> None:
    """The client's header passed, because nobody records the trace."""
    assert spans_of_attempt(attempt(7, 2, id=REQUEST_ID, traceparent=traceparent)) == []


def test_a_call_that_quota_did_not_answer_has_a_span_of_its_own() -> None:
    unanswered = call(7, id=REQUEST_ID, reservation=None, status=503, time=TIME, traceparent=TRACEPARENT, model="")
    made = read(spans_of_unanswered(unanswered, ALWAYS))["spendgate-envoy"]

    assert (made.trace_id.hex(), made.parent_span_id.hex()) == (TRACE, CLIENT)
    assert made.status.code == Status.STATUS_CODE_ERROR
    assert written(made)["http.status_code"] == 503
    assert spans_of_unanswered(unanswered, NEVER) == []
    unsampled = unanswered._replace(traceparent=f"00-{TRACE}-{CLIENT}-00")
    assert spans_of_unanswered(unsampled, BY_CLIENT) == []


def test_a_denial_has_its_span_and_that_of_the_decision() -> None:
    decided = {"began_us": 5, "took_us": 7, "reason": "budget_exhausted", "policy": "team", "model": "gpt-4o"}
    made = read(spans_of_refusal(refusal(decided=json.dumps(decided)), ALWAYS))

    server, decision = made["spendgate-envoy"], made["spendgate-quota"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, CLIENT)
    assert decision.parent_span_id == server.span_id
    assert server.name == "POST /v1/chat/completions"
    assert server.end_time_unix_nano - server.start_time_unix_nano == 1_234_000
    said = {
        "gen_ai.request.model": "gpt-4o",
        "spendgate.decision": "deny",
        "spendgate.decision.reason": "budget_exhausted",
        "spendgate.policy.binding": "team",
    }
    assert written(decision) == said
    assert written(server) == said | {
        "http.request.method": "POST",
        "http.response.status_code": 429,
        "http.status_code": 429,
    }
    assert (decision.start_time_unix_nano, decision.end_time_unix_nano) == (5_000, 12_000)


def test_a_request_that_quota_did_not_refuse_has_one_span() -> None:
    (made,) = spans_of_refusal(refusal(status=404, path="/nowhere", traceparent=None), ALWAYS)
    span = Span.FromString(made[1])
    assert (span.name, span.trace_id.hex()) == ("POST /nowhere", REQUEST_ID.replace("-", ""))
    assert span.parent_span_id == b""


def test_sampling_holds_for_refusals_too() -> None:
    assert spans_of_refusal(refusal(), NEVER) == []
    assert spans_of_refusal(refusal(traceparent=f"00-{TRACE}-{CLIENT}-00"), BY_CLIENT) == []
    assert spans_of_refusal(refusal(), BY_CLIENT) != []
