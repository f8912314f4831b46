"""A model whose provider lacks its credential exists: it is refused for the moment, says why, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import anthropic
import openai
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

FILE = "late-key"
_FOUND_WITHIN_S = 10.0


@pytest.fixture
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    late = {**vendors.configuration["anthropic"], "api_key": {"file": FILE}}
    configuration = {
        "providers": {**vendors.configuration, "late": late},
        "models": {"claude": {"targets": ["late/claude-haiku-4-5"]}, "chat": {"targets": ["openai/gpt-4o"]}},
        "prices": {"late/claude-haiku-4-5": {"input": 1, "output": 5}},
        "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }
    with run_gateway(tmp_path_factory.mktemp("late"), configuration, vendors) as running:
        yield running


def ask(gateway: Gateway) -> None:
    gateway.anthropic("app").messages.create(
        model="claude", max_tokens=20, messages=[{"role": "user", "content": "Answer in 5 tokens."}]
    )


def test_a_model_without_its_credential_is_refused_for_the_moment_until_the_credential_is_there(
    gateway: Gateway, vendors: Providers
) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(gateway)
    assert caught.value.status_code == 503
    message = str(caught.value)
    assert "Model claude has no usable target: the credential of provider late is missing." in message
    assert FILE not in message
    with pytest.raises(openai.InternalServerError) as other:
        gateway.openai("app").chat.completions.create(model="claude", messages=[{"role": "user", "content": "hi"}])
    assert other.value.code == "upstream_unavailable"
    explained = gateway.json("explain", "--key", "app", "--model", "claude")
    assert "the credential of provider late is missing" in explained["reason"]

    (gateway.data_dir / "secrets" / FILE).write_text(vendors.by_vendor[Vendor.ANTHROPIC].api_key)

    deadline = time.monotonic() + _FOUND_WITHIN_S
    while True:
        try:
            ask(gateway)
            break
        except anthropic.InternalServerError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    gateway.settle(1)
