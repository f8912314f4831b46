"""Vectors through the whole gateway, with the vendors' own SDKs: metered by the answer, held and refused beforehand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from google.genai import errors, types

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, amount, run_gateway
from tests.worlds.limited_keys import limited_keys

pytestmark = pytest.mark.e2e

TEXT = "A vector for this text, please."
BODY = json.dumps({"model": "vec", "input": TEXT, "encoding_format": "float"})
LIMITS: dict[str, dict[str, Any]] = {
    "app": {"spend": 100},
    "doubtful": {"spend": 100},
    "exact": {"input_tokens": len(BODY)},
    "short": {"input_tokens": len(BODY) - 1},
    "poor": {"spend": 0.1},
}
CONFIGURATION = {
    "models": {
        "vec": {"targets": ["openai/text-embedding-3-small"]},
        "gem": {"targets": ["gemini/gemini-embedding-001"]},
        "both": {"targets": ["openai/text-embedding-3-small", "gemini/gemini-embedding-001"]},
        "unpriced": {"targets": ["openai/nobody-knows-its-price"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
    },
    # A thousandth of a dollar for each token of text, and none for output, of which there is none.
    "prices": {"openai/text-embedding-3-small": {"input": 1_000}, "gemini/gemini-embedding-001": {"input": 1_000}},
    **limited_keys(LIMITS),
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("embeddings"), CONFIGURATION, vendors) as running:
        yield running


def booked(gateway: Gateway, key: str) -> list[dict[str, Any]]:
    gateway.settle()
    return [call for call in gateway.calls() if call["key"] == key]


def post(gateway: Gateway, key: str, body: str, path: str = "/v1/embeddings") -> httpx.Response:
    return gateway.http(key).post(path, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize("given", [TEXT, [TEXT, "another"], [1, 2, 3], [[1, 2], [3, 4, 5]], ["x"] * 2_048])
def test_openais_sdk_gets_vectors_and_the_ledger_books_what_the_provider_counted(
    gateway: Gateway, providers: Providers, given: Any
) -> None:
    before = len(booked(gateway, "app"))
    done = gateway.openai("app").embeddings.create(model="vec", input=given)
    newest = booked(gateway, "app")[0]
    (bill,) = providers.by_vendor[Vendor.OPENAI].bills[-1:]

    assert len(done.data) == (1 if isinstance(given, str) or isinstance(given[0], int) else len(given))
    assert len(done.data[0].embedding) == 8
    assert done.usage.prompt_tokens == bill.usage.input_tokens == newest["input_tokens"]
    assert (newest["output_tokens"], newest["usage_source"]) == (0, "provider")
    assert Decimal(newest["cost_usd"]) == Decimal(done.usage.prompt_tokens) / 1_000
    assert len(booked(gateway, "app")) == before + 1


def test_the_provider_gets_its_own_name_for_the_model(gateway: Gateway, providers: Providers) -> None:
    gateway.openai("app").embeddings.create(model="vec", input=TEXT)
    gateway.gemini("app").models.embed_content(model="gem", contents=[TEXT, TEXT])
    (asked,), (batch,) = providers.requests(Vendor.OPENAI), providers.requests(Vendor.GEMINI)

    assert (asked.path, asked.document["model"]) == ("/v1/embeddings", "text-embedding-3-small")
    assert batch.path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert {each["model"] for each in batch.document["requests"]} == {"models/gemini-embedding-001"}


@pytest.mark.parametrize("version", ["v1", "v1alpha", "v1beta"])
def test_googles_sdk_gets_vectors(gateway: Gateway, version: str) -> None:
    asked = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    done = gateway.gemini("app", version).models.embed_content(model="gem", contents=[TEXT, "more"], config=asked)
    newest = booked(gateway, "app")[0]

    assert [len(each.values or ()) for each in done.embeddings or ()] == [8, 8]
    assert newest["input_tokens"] > 0
    assert (newest["output_tokens"], newest["usage_source"]) == (0, "provider")


def test_one_vector_of_gemini_needs_no_name_in_the_body(gateway: Gateway) -> None:
    body = json.dumps({"content": {"parts": [{"text": TEXT}]}})
    answer = post(gateway, "app", body, "/v1beta/models/gem:embedContent")

    assert len(answer.json()["embedding"]["values"]) == 8


def test_a_call_is_refused_before_anybody_sees_it_if_one_token_is_missing(
    gateway: Gateway, providers: Providers
) -> None:
    """A text has no more tokens than bytes, so its bytes are what it holds."""
    refused, admitted = post(gateway, "short", BODY), post(gateway, "exact", BODY)

    assert (admitted.status_code, refused.status_code) == (200, 429)
    assert refused.json()["error"]["code"] == "request_exceeds_remaining_budget"
    assert refused.headers["x-should-retry"] == "false"
    assert len(providers.requests(Vendor.OPENAI)) == 1


def test_no_crowd_of_calls_spends_more_than_its_budget(gateway: Gateway) -> None:
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: post(gateway, "poor", BODY).status_code, range(40)))
    calls = booked(gateway, "poor")
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "poor"]

    assert set(answers) == {200, 429}
    assert sum(Decimal(call["cost_usd"]) for call in calls) == amount(counter, "settled") <= Decimal("0.1")


def test_an_answer_without_usage_is_booked_as_an_estimate_and_the_rest_stays_in_doubt(
    gateway: Gateway, providers: Providers
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.NO_USAGE))
    assert post(gateway, "doubtful", BODY).status_code == 200
    (call,) = booked(gateway, "doubtful")
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "doubtful"]

    assert call["usage_source"] == "estimated"
    assert 0 < call["input_tokens"] <= len(BODY)
    assert call["output_tokens"] == 0
    # The most that it can have cost: a thousandth of a dollar for each byte.
    assert amount(counter, "settled") + amount(counter, "doubt") == Decimal(len(BODY)) / 1_000


def test_a_model_without_a_price_is_refused_under_a_limit_on_spend(gateway: Gateway, providers: Providers) -> None:
    with pytest.raises(openai.NotFoundError, match="price"):
        gateway.openai("app").embeddings.create(model="unpriced", input=TEXT)
    assert providers.requests(Vendor.OPENAI) == []


def test_a_chat_with_a_model_that_is_priced_for_vectors_only_is_refused(gateway: Gateway, providers: Providers) -> None:
    with pytest.raises(openai.NotFoundError, match="a price for output"):
        gateway.openai("app").chat.completions.create(model="vec", messages=[{"role": "user", "content": "Hello"}])
    with pytest.raises(errors.ClientError, match="a price for output"):
        gateway.gemini("app").models.generate_content(model="gem", contents="Hello")
    assert providers.requests(Vendor.OPENAI) == providers.requests(Vendor.GEMINI) == []


def test_a_target_that_makes_no_vectors_is_not_asked(gateway: Gateway, providers: Providers) -> None:
    with pytest.raises(openai.BadRequestError, match="none of its targets serves embeddings in the openai dialect"):
        gateway.openai("app").embeddings.create(model="claude", input=TEXT)
    assert providers.requests(Vendor.ANTHROPIC) == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/embeddings/", BODY, 404),
        ("/v1//embeddings", BODY, 404),
        ("/v1/%65mbeddings", BODY, 200),
        ("/v1/embeddings%2f", BODY, 404),
        ("/v1/embeddings?model=other&stream=true", BODY, 200),
        ("/v1beta/models/gem:embedContent/", "{}", 404),
        ("/v1beta/models/gem:embedContents", "{}", 404),
        ("/v1beta/models/gem:embedContent", json.dumps({"model": "models/dearer", "content": {}}), 400),
        ("/v1/embeddings", "--x\r\n", 400),
        ("/v1/embeddings", '{"model":"vec","input":"a","input":"b"}', 400),
        ("/v1/embeddings", "[]", 400),
        ("/v1/embeddings", "", 400),
    ],
)
def test_tricks_with_paths_and_bodies_reach_nobody(
    gateway: Gateway, providers: Providers, path: str, body: str, status: int
) -> None:
    answer = post(gateway, "app", body, path)

    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["message"]
        assert providers.requests(Vendor.OPENAI) == providers.requests(Vendor.GEMINI) == []
    else:
        assert [(each.path, each.query) for each in providers.requests(Vendor.OPENAI)] == [("/v1/embeddings", {})]


def test_a_fallback_embeds_at_the_other_vendor_under_its_own_name(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=503))
    done = gateway.openai("app").embeddings.create(model="both", input=TEXT)

    assert done.model == "gemini-embedding-001"
    assert [each.path for each in providers.requests(Vendor.GEMINI)] == ["/v1beta/openai/embeddings"]
