"""Answers that Envoy gives itself are errors that every vendor's own SDK reads: 404, 413, 503."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google.genai import errors

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "chat": {"targets": ["openai/gpt-4o"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gemini": {"targets": ["gemini/gemini-2.5-flash"]},
    },
    "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
# Envoy waits half a second for quota; the rest is for the SDKs, which take their time to start on a busy machine.
WITHIN_S = 5.0
HUGE = "x" * 30_000_000


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("local"), CONFIGURATION, vendors) as running:
        yield running


def _openai(gateway: Gateway, text: str = "hello") -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as refused:
        gateway.openai("app").chat.completions.create(model="chat", messages=[{"role": "user", "content": text}])
    return refused.value


def _anthropic(gateway: Gateway, text: str = "hello") -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as refused:
        gateway.anthropic("app").messages.create(
            model="claude", messages=[{"role": "user", "content": text}], max_tokens=10
        )
    return refused.value


def _gemini(gateway: Gateway, text: str = "hello") -> errors.APIError:
    with pytest.raises(errors.APIError) as refused:
        gateway.gemini("app").models.generate_content(model="gemini", contents=text)
    return refused.value


def test_an_endpoint_that_is_none_is_not_found(gateway: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as from_openai:
        gateway.openai("app").images.generate(model="chat", prompt="a house")
    assert from_openai.value.body["message"]  # type: ignore[index]
    assert from_openai.value.type == "invalid_request_error"
    assert from_openai.value.request_id
    with pytest.raises(anthropic.NotFoundError) as from_anthropic:
        gateway.anthropic("app").messages.batches.list()
    assert from_anthropic.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    assert from_anthropic.value.request_id
    with pytest.raises(errors.ClientError) as from_gemini:
        gateway.gemini("app").models.delete(model="gemini")
    assert (from_gemini.value.code, from_gemini.value.status) == (404, "NOT_FOUND")
    assert from_gemini.value.message


def test_a_body_that_is_too_large_is_named_as_that(gateway: Gateway) -> None:
    from_openai = _openai(gateway, HUGE)
    assert (from_openai.status_code, from_openai.code) == (413, "request_too_large")
    from_anthropic = _anthropic(gateway, HUGE)
    assert isinstance(from_anthropic, anthropic.RequestTooLargeError)
    assert from_anthropic.body["error"]["type"] == "request_too_large"  # type: ignore[index]
    from_gemini = _gemini(gateway, HUGE)
    assert from_gemini.code == 413
    assert "large" in str(from_gemini.message)


def test_a_quota_that_hangs_is_soon_unavailable(gateway: Gateway, providers: Providers) -> None:
    quota = gateway.pids()["quota"]
    os.kill(quota, signal.SIGSTOP)
    try:
        _assert_unavailable(gateway)
    finally:
        os.kill(quota, signal.SIGCONT)
    assert not any(providers.requests(vendor) for vendor in providers.by_vendor)


def test_a_quota_that_is_gone_is_unavailable(gateway: Gateway, providers: Providers) -> None:
    supervisor = gateway.process.pid
    # The supervisor is stopped, so that it does not restart quota while the SDKs call.
    os.kill(supervisor, signal.SIGSTOP)
    try:
        quota = gateway.pids()["quota"]
        os.kill(quota, signal.SIGKILL)
        _wait_until_dead(quota)
        _assert_unavailable(gateway)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert not any(providers.requests(vendor) for vendor in providers.by_vendor)
    _wait_until_served(gateway)
    gateway.settle()


def _assert_unavailable(gateway: Gateway) -> None:
    from_openai = _timed(_openai, gateway)
    assert isinstance(from_openai, openai.InternalServerError)
    assert (from_openai.status_code, from_openai.code) == (503, "policy_unavailable")
    assert from_openai.response.headers["retry-after"] == "1"
    from_anthropic = _timed(_anthropic, gateway)
    assert from_anthropic.status_code == 503
    assert from_anthropic.body["error"]["type"] == "api_error"
    from_gemini = _timed(_gemini, gateway)
    assert (from_gemini.code, from_gemini.status) == (503, "UNAVAILABLE")


def _timed(ask: Callable[[Gateway], Any], gateway: Gateway) -> Any:
    started = time.monotonic()
    error = ask(gateway)
    assert time.monotonic() - started < WITHIN_S
    return error


def _wait_until_dead(pid: int) -> None:
    """Nobody reaps the process: it remains as a zombie, which no longer listens."""
    deadline = time.monotonic() + 5
    while ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline, "quota does not end"
        time.sleep(0.02)


def _wait_until_served(gateway: Gateway) -> None:
    deadline = time.monotonic() + 20
    body = {"model": "chat", "messages": [{"role": "user", "content": "Answer in 5 tokens."}]}
    while gateway.http("app").post("/v1/chat/completions", json=body).status_code != 200:
        assert time.monotonic() < deadline, "quota did not come back"
        time.sleep(0.2)
