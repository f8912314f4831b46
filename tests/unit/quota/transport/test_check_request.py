from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as pb

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import REQUEST_NAMESPACE
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.transport.check_request import Check, read_check

LARGEST = 2**53


def check(
    path: str = "/v1/chat/completions", *, method: str = "POST", headers: dict[str, str] | None = None, **scan: Any
) -> Check:
    request = pb.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = method, path
    http.headers.update(headers or {})
    if scan:
        request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].update(scan)
    return read_check(request.SerializeToString())


def test_a_scan_is_read_whole() -> None:
    read = check(
        dialect="openai",
        model="tiny",
        stream=True,
        include_usage=True,
        max_output_tokens=100,
        thinking_tokens=40,
        choices=3,
        body_bytes=2_048,
        images=2,
        data_uri_bytes=1_000,
        audio_bytes=70,
        growth_bytes=8,
        features="images,tools",
        unknown_members="frobnicate,messages.content.type=hologram",
        price_options="service_tier=priority",
    ).scan
    assert read is not None
    facts = read.facts
    assert (read.dialect, read.model) == (Dialect.OPENAI, "tiny")
    assert (facts.stream, facts.include_usage, facts.max_output_tokens, facts.choices) == (True, True, 100, 3)
    assert facts.thinking_tokens == 40
    assert (facts.body_bytes, facts.images, facts.data_uri_bytes) == (2_048, 2, 1_000)
    assert (facts.audio_bytes, facts.growth_bytes) == (70, 8)
    assert facts.features == {"images", "tools"}
    assert facts.unknown_members == ("frobnicate", "messages.content.type=hologram")
    assert facts.price_options == ("service_tier=priority",)


def test_the_operation_is_a_chat_unless_the_scan_says_another_one_that_is_known() -> None:
    chat, vectors = (
        check(dialect="openai", model="m").scan,
        check(dialect="openai", model="m", operation="embeddings").scan,
    )
    assert chat is not None
    assert vectors is not None
    assert (chat.facts.operation, vectors.facts.operation) == (Operation.CHAT, Operation.EMBED)
    assert check(dialect="openai", model="m", operation="telepathy").scan is None


@pytest.mark.parametrize("operation", [each for each in Operation if each.is_free])
def test_nothing_in_a_free_call_can_cost_anything(operation: Operation) -> None:
    read = check(
        dialect="openai", model="m", operation=operation, body_bytes=9_000, choices=7, price_options="background"
    ).scan
    assert read is not None
    assert read.facts == RequestFacts(0, max_output_tokens=0, operation=operation)


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("/v1/messages?beta=true", "beta=true"),
        ("/v1/messages?key=spg_live_x&beta=true", "beta=true"),
        ("/v1/messages?beta=true2&alt=sse", ""),
        ("/v1beta/models/m:streamGenerateContent?alt=sse&key=x", "alt=sse"),
        ("/v1/chat/completions?beta=true&alt=sse", ""),
        ("/v1/chat/completions", ""),
    ],
)
def test_no_query_is_passed_on_but_two_known_ones(path: str, passed: str) -> None:
    assert check(path).passed_query == passed


def test_what_the_client_did_not_say_is_absent() -> None:
    read = check(dialect="anthropic", model="tiny").scan
    assert read is not None
    assert read.facts.max_output_tokens is None
    assert (read.facts.choices, read.facts.stream, read.facts.features) == (1, False, frozenset())


@pytest.mark.parametrize("number", [-1, 1e300, float("nan"), float("inf"), float("-inf")])
def test_a_count_that_is_none_never_passes_as_small(number: float) -> None:
    read = check(dialect="openai", model="tiny", max_output_tokens=number, body_bytes=number).scan
    assert read is not None
    assert (read.facts.max_output_tokens, read.facts.body_bytes) == (LARGEST, LARGEST)


@pytest.mark.parametrize("number", ["12", True, None])
def test_a_count_of_another_type_never_passes_as_small(number: object) -> None:
    read = check(dialect="openai", model="tiny", body_bytes=number).scan
    assert read is not None
    assert read.facts.body_bytes == LARGEST


def test_a_fraction_is_rounded_up() -> None:
    read = check(dialect="openai", model="tiny", max_output_tokens=1.5).scan
    assert read is not None
    assert read.facts.max_output_tokens == 2


@pytest.mark.parametrize("scan", [{}, {"model": "tiny"}, {"dialect": "openai"}, {"dialect": "klingon", "model": "m"}])
def test_a_scan_without_dialect_or_model_is_none(scan: dict[str, Any]) -> None:
    assert check(**scan).scan is None


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/chat/completions", {}, Dialect.OPENAI),
        ("/v1/chat/completions", {"anthropic-version": "2023-06-01"}, Dialect.OPENAI),
        ("/v1/messages?beta=true", {}, Dialect.ANTHROPIC),
        ("/v1/models", {}, Dialect.OPENAI),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, Dialect.ANTHROPIC),
        ("/v1/models/tiny", {"x-goog-api-key": "k"}, Dialect.GEMINI),
        ("/v1/models/tiny:generateContent", {}, Dialect.GEMINI),
        ("/nowhere", {}, Dialect.OPENAI),
    ],
)
def test_the_dialect_of_an_answer_follows_the_path_then_the_headers(
    path: str, headers: dict[str, str], dialect: Dialect
) -> None:
    assert check(path, headers=headers).dialect is dialect


@pytest.mark.parametrize(
    ("method", "path", "model"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models?limit=20", None),
        ("GET", "/v1/models/openai/gpt-4o", "openai/gpt-4o"),
        ("GET", "/v1/models/us.anthropic.claude-x:0", "us.anthropic.claude-x:0"),
        ("GET", "/v1/models/a%20b", "a b"),
        ("GET", "/v1beta/models/tiny", "tiny"),
    ],
)
def test_a_question_for_models_is_known_by_its_path(method: str, path: str, model: str | None) -> None:
    asked = check(path, method=method).models_question
    assert asked is not None
    assert asked.model == model


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/modelsX"),
        ("GET", "/v1/models/"),
    ],
)
def test_other_requests_are_no_question_for_models(method: str, path: str) -> None:
    assert check(path, method=method).models_question is None


@pytest.mark.parametrize(("dialect", "window_tokens"), [("anthropic", 1_000_000), ("openai", 0), ("gemini", 0)])
def test_a_wider_window_counts_where_the_header_that_opens_it_passes(dialect: str, window_tokens: int) -> None:
    betas = {"anthropic-beta": "context-1m-2025-08-07,new-thing-2027-01-01"}

    read = check(headers=betas, dialect=dialect, model="m", body_bytes=100, unknown_members="x").scan

    assert read is not None
    assert read.facts.window_tokens == window_tokens
    named = ("anthropic-beta=new-thing-2027-01-01",) if window_tokens else ()
    assert read.facts.unknown_members == ("x", *named)


def test_a_credential_does_not_show_in_what_is_printed() -> None:
    read = check(headers={"authorization": "Bearer spg_live_secret"})
    assert read.credential == "spg_live_secret"
    assert "secret" not in repr(read)


def test_what_is_no_check_request_raises() -> None:
    with pytest.raises(DecodeError):
        read_check(b"\xff\xff")


def test_a_name_that_may_hold_a_key_is_shown_nowhere() -> None:
    key = "spg_live_0123456789abcdefghijklmnopqrstuv123456"
    imported = "another-gateways-secret"
    names = f"frobnicate,messages.{key},{imported}"

    read = check(
        headers={"x-api-key": imported, "anthropic-beta": f"{key},warp-2"},
        dialect="anthropic",
        model="m",
        unknown_members=names,
        price_options=f"service_tier={key}",
    ).scan

    assert read is not None
    assert read.facts.unknown_members == ("frobnicate", "(withheld)", "anthropic-beta=warp-2")
    assert read.facts.price_options == ("(withheld)",)
