"""Against llama.cpp: what is booked equals what that server reports, call by call."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, run_gateway
from tests.worlds.real_model import MODEL, RealModel

pytestmark = pytest.mark.e2e

CALLS = 50
# Pico-USD per token; the odd digits make every rounding show.
INPUT, CACHED_INPUT, OUTPUT = 2_500_003, 1_250_007, 10_000_009
SYSTEM = "You are a careful accountant who adds up every token. " * 4


def test_tokens_and_cost_equal_what_the_server_reports(real_model: RealModel, tmp_path: Path) -> None:
    configuration = {
        "providers": {"lab": {"protocol": "openai", "base_url": f"{real_model.url}/v1", "api_key": {"env": "LAB_KEY"}}},
        "models": {"real": {"targets": [f"lab/{MODEL}"]}},
        "prices": {
            f"lab/{MODEL}": {"input": 2.500003, "cached_input": 1.250007, "output": 10.000009},
        },
        "policies": [{"name": "lab", "limits": [{"spend": 10, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }
    environment = {"LAB_KEY": real_model.api_key}
    with run_gateway(tmp_path, configuration, environment=environment) as gateway:
        reported = dict(_call(gateway, number) for number in range(CALLS))
        gateway.settle(calls=CALLS)
        booked = {call["request_id"]: call for call in gateway.calls()}
        assert booked.keys() == reported.keys()
        assert any(usage.prompt_tokens_details.cached_tokens for usage in reported.values())
        for request_id, usage in reported.items():
            call = booked[request_id]
            assert (call["input_tokens"], call["output_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
            assert call["cached_input_tokens"] == usage.prompt_tokens_details.cached_tokens
            assert call["usage_source"] == "provider"
            assert call["cost_usd"] == _usd(_cost_nano_usd(usage))
        total = sum(_cost_nano_usd(usage) for usage in reported.values())
        assert gateway.usage()["total"]["cost_usd"] == _usd(total) == gateway.budget("lab")["settled_usd"]


def _call(gateway: Gateway, number: int) -> tuple[str, Any]:
    """One call, every second one streamed; its request id and the server's usage."""
    # The seed and the length vary, so that prompts share a prefix and no two calls are alike.
    messages: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Question {number}?" * 3}]
    chat = gateway.openai("app").chat.completions.with_raw_response
    ask: Any = {"model": "real", "messages": messages, "max_tokens": 4 + number % 9, "seed": number}
    if number % 2:
        raw = chat.create(**ask, stream=True, stream_options={"include_usage": True})
        chunks: Any = raw.parse()
        usage = list(chunks)[-1].usage
    else:
        raw = chat.create(**ask)
        usage = raw.parse().usage
    return raw.headers["x-request-id"], usage


# The test computes the price itself, because a wrong price engine would confirm its own mistakes.
def _cost_nano_usd(usage: Any) -> int:
    cached = usage.prompt_tokens_details.cached_tokens
    uncached = usage.prompt_tokens - cached
    pico_usd = uncached * INPUT + cached * CACHED_INPUT + usage.completion_tokens * OUTPUT
    return math.ceil(Fraction(pico_usd, 1_000))


def _usd(nano_usd: int) -> str:
    return f"{Decimal(nano_usd).scaleb(-9):.9f}"
