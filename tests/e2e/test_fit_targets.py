"""A target that cannot carry a call gets no attempt of it, in each dialect, and the call says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CONFIGURATION = {
    "models": {
        "mixed": {"targets": ["openai/blind"], "fallbacks": [{"to": ["openai/seeing"]}]},
        "blind": {"targets": ["openai/blind"]},
        "claude": {"targets": ["anthropic/blind"], "fallbacks": [{"to": ["anthropic/seeing"]}]},
        "claude-blind": {"targets": ["anthropic/blind"]},
        "unpriced": {"targets": ["openai/unpriced"], "fallbacks": [{"to": ["openai/seeing"]}]},
    },
    "prices": {
        f"{provider}/{name}": {"input": 1, "output": 1}
        for provider in ("openai", "anthropic")
        for name in ("blind", "seeing")
    },
    "policies": [{"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]}],
    "keys": [{"name": "app"}],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    declared = {
        name: {**provider, "models": {"blind": {"carries": ["tools"]}, "seeing": {"context_window": 100_000}}}
        for name, provider in vendors.configuration.items()
        if name in {Vendor.OPENAI, Vendor.ANTHROPIC}
    }
    configuration = {**CONFIGURATION, "providers": declared}
    folder = tmp_path_factory.mktemp("fit")
    with run_gateway(folder, configuration, environment=vendors.environment) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


def picture() -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def ask(gateway: Gateway, model: str, *parts: dict[str, Any]) -> dict[str, str]:
    """The headers of an answer to OpenAI's SDK."""
    content: Any = [{"type": "text", "text": "What is this?"}, *parts]
    raw = gateway.openai("app").chat.completions.with_raw_response.create(
        model=model, max_tokens=5, messages=[{"role": "user", "content": content}]
    )
    return dict(raw.headers)


def test_a_call_with_an_image_skips_a_target_that_reads_none_and_every_place_says_why(
    gateway: Gateway, providers: Providers
) -> None:
    plain, seen = ask(gateway, "mixed"), ask(gateway, "mixed", picture())
    assert plain["x-spendgate-model-served"] == "openai/blind"
    assert "x-spendgate-downgraded" not in plain
    assert seen["x-spendgate-model-served"] == "openai/seeing"
    assert (seen["x-spendgate-downgraded"], seen["x-spendgate-attempts"]) == ("unfit", "1")
    assert [request.document["model"] for request in providers.requests(Vendor.OPENAI)] == ["blind", "seeing"]

    gateway.settle()
    call = gateway.json("calls", "show", seen["x-request-id"])
    assert (call["decision"], call["downgraded"]) == ("downgrade", "unfit")
    assert call["left_out"] == [{"target": "openai/blind", "lacks": ["images"]}]
    shown = gateway.run("calls", "show", call["id"]).stdout
    assert "unfit: the target that leads otherwise cannot carry such a call" in shown
    told = gateway.json("explain", "--key", "app", "--model", "mixed", "--needs", "images")
    assert (told["decision"], told["target"]) == ("downgrade", "openai/seeing")
    assert "openai/blind carries no images" in told["reason"]


def test_what_no_target_carries_is_refused_in_the_callers_dialect_with_the_feature_and_the_model(
    gateway: Gateway, providers: Providers
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(gateway, "blind", picture())
    assert refused.value.code == "unsupported_parameter"
    assert "No target of model blind can serve this request: openai/blind carries no images" in str(refused.value)
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    with pytest.raises(anthropic.BadRequestError) as refused_too:
        gateway.anthropic("app").messages.create(
            model="claude-blind", max_tokens=5, messages=[{"role": "user", "content": [image]}]
        )
    assert "No target of model claude-blind" in str(refused_too.value)
    assert "anthropic/blind carries no images" in str(refused_too.value)
    assert [*providers.requests(Vendor.OPENAI), *providers.requests(Vendor.ANTHROPIC)] == []


def test_messages_with_thinking_and_a_document_go_to_the_target_that_carries_them(
    gateway: Gateway, providers: Providers
) -> None:
    document: Any = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL}}
    client = gateway.anthropic("app")
    for content, thinking in (([document], None), ("hello", {"type": "enabled", "budget_tokens": 1_024})):
        more: Any = {"thinking": thinking} if thinking else {}
        client.messages.create(
            model="claude", max_tokens=2_000, messages=[{"role": "user", "content": content}], **more
        )
    client.messages.create(
        model="claude",
        max_tokens=5,
        messages=[{"role": "user", "content": "hello"}],
        thinking={"type": "disabled"},
        tools=[{"name": "look", "input_schema": {"type": "object"}}],
    )
    served = [request.document["model"] for request in providers.requests(Vendor.ANTHROPIC)]
    assert served == ["seeing", "seeing", "blind"]


def test_a_first_target_without_a_price_is_no_silent_downgrade(gateway: Gateway) -> None:
    headers = ask(gateway, "unpriced")
    assert headers["x-spendgate-model-served"] == "openai/seeing"
    assert headers["x-spendgate-downgraded"] == "unpriced"
