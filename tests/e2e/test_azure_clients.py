"""Clients that are written for Azure: its paths and its header, with the official SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.limited_keys import limited_keys, newest_call

pytestmark = pytest.mark.e2e

VERSION = "2024-10-21"
ASK: Any = [{"role": "user", "content": "Answer in 20 tokens."}]
CONFIGURATION = {
    "models": {
        "gpt": {"targets": ["openai/gpt-4o"]},
        "lab/gpt:1": {"targets": ["openai/gpt-4o"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
        "davinci": {"targets": ["openai/gpt-3.5-turbo-instruct"]},
        "vectors": {"targets": ["openai/text-embedding-3-small"]},
    },
    "prices": {"openai/gpt-3.5-turbo-instruct": {"input": 1, "output": 100}},
    **limited_keys({"app": {"spend": 100}, "broke": {"spend": 0}}),
}
PATHS = [
    "/openai/deployments/gpt/chat/completions",
    "/openai/deployments/gpt/completions",
    "/openai/deployments/gpt/embeddings",
    "/openai/responses",
    "/openai/v1/chat/completions",
    "/openai/v1/completions",
    "/openai/v1/embeddings",
    "/openai/v1/responses",
]


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("azure"), CONFIGURATION, vendors) as running:
        yield running


def azure(gateway: Gateway, key: str = "app", **options: Any) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=gateway.url,
        api_key=gateway.secret(key),
        api_version=VERSION,
        max_retries=0,
        **options,
    )


@pytest.mark.parametrize("model", ["gpt", "lab/gpt:1"])
def test_a_chat_reaches_the_model_that_its_deployment_names(gateway: Gateway, providers: Providers, model: str) -> None:
    with azure(gateway) as client:
        done = client.chat.completions.create(model=model, messages=ASK, max_tokens=30)
    call = newest_call(gateway, "app")

    assert done.usage is not None
    assert (call["operation"], call["model_requested"], call["output_tokens"]) == ("chat", model, 20)
    (received,) = providers.requests(Vendor.OPENAI)
    assert (received.path, received.query, received.document["model"]) == ("/v1/chat/completions", {}, "gpt-4o")
    assert "api-key" not in received.headers


def test_a_stream_and_a_target_of_another_dialect_are_served_alike(gateway: Gateway, providers: Providers) -> None:
    with azure(gateway) as client:
        pieces = [*client.chat.completions.create(model="gpt", messages=ASK, max_tokens=30, stream=True)]
        done = client.chat.completions.create(model="claude", messages=ASK, max_tokens=30)

    assert pieces[-1].choices[0].finish_reason == "stop"
    assert done.choices[0].message.content
    assert providers.requests(Vendor.ANTHROPIC)


def test_completions_embeddings_and_responses_are_what_they_are_elsewhere(gateway: Gateway) -> None:
    with azure(gateway) as client:
        client.completions.create(model="davinci", prompt="Answer in 20 tokens.", max_tokens=30)
        assert newest_call(gateway, "app")["operation"] == "completions"
        client.embeddings.create(model="vectors", input="x")
        assert newest_call(gateway, "app")["operation"] == "embeddings"
        client.responses.create(model="gpt", input="Answer in 20 tokens.", max_output_tokens=30)
        assert newest_call(gateway, "app")["operation"] == "responses"
        assert {"gpt", "claude"} <= {model.id for model in client.models.list()}
    with openai.OpenAI(base_url=f"{gateway.url}/openai/v1", api_key=gateway.secret("app"), max_retries=0) as client:
        assert client.chat.completions.create(model="gpt", messages=ASK, max_tokens=30).choices


@pytest.mark.parametrize("named", ["", '"model":"claude",', '"model":null,', '"model":"gpt-4o",'])
@pytest.mark.parametrize("stream", [False, True])
def test_the_deployment_decides_whatever_the_body_names(
    gateway: Gateway, providers: Providers, named: str, *, stream: bool
) -> None:
    body = f'{{{named}"stream":{json.dumps(stream)},"max_tokens":30,"messages":{json.dumps(ASK)}}}'
    headers = {"api-key": gateway.secret("app"), "content-type": "application/json"}
    path = f"{gateway.url}{PATHS[0]}?api-version={VERSION}"
    answer = httpx.post(path, content=body, headers=headers, timeout=30)

    assert answer.status_code == 200
    (received,) = providers.requests(Vendor.OPENAI)
    sent = json.loads(received.body, object_pairs_hook=list)
    assert [value for name, value in sent if name == "model"] == ["gpt-4o"]
    assert providers.requests(Vendor.ANTHROPIC) == []
    assert newest_call(gateway, "app")["model_requested"] == "gpt"


@pytest.mark.parametrize("path", PATHS)
def test_no_path_of_azure_leads_around_a_budget(gateway: Gateway, providers: Providers, path: str) -> None:
    body = {"model": "gpt", "messages": ASK, "prompt": "x", "input": "x", "max_tokens": 30}
    if path.endswith("embeddings"):
        path, body = path.replace("/gpt/", "/vectors/"), {"model": "vectors", "input": "x"}
    elif path.endswith("responses"):
        body = {"model": "gpt", "input": "x"}
    elif path.endswith("/completions") and "chat" not in path:
        path, body = path.replace("/gpt/", "/davinci/"), {"model": "davinci", "prompt": "x"}
    for key, status in (("broke", 429), ("no-such-key", 401), ("", 401)):
        headers = {"api-key": gateway.secret(key)} if key else {}
        answer = httpx.post(f"{gateway.url}{path}?api-version={VERSION}", json=body, headers=headers, timeout=30)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"]
    assert providers.requests(Vendor.OPENAI) == []
    assert httpx.get(f"{gateway.url}{path}").status_code == 405


def test_the_sdk_raises_what_the_gateway_says(gateway: Gateway) -> None:
    with azure(gateway, "broke") as client, pytest.raises(openai.RateLimitError, match="Budget broke is exhausted"):
        client.chat.completions.create(model="gpt", messages=ASK)
    with azure(gateway) as client, pytest.raises(openai.NotFoundError, match="gtp"):
        client.chat.completions.create(model="gtp", messages=ASK)
    with azure(gateway) as client, pytest.raises(openai.NotFoundError, match="the paths of Azure"):
        client.images.generate(model="gpt", prompt="x")
