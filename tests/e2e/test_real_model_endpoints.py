"""Against llama.cpp, at each of its endpoints: what is booked equals what that server reports, call by call."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from tests.worlds.gateway import Gateway, run_gateway
from tests.worlds.real_model import MODEL, VECTORS, RealModel, run_real_model

pytestmark = pytest.mark.e2e

CALLS = 8
PATIENCE = 20
# Pico-USD per token; the odd digits make every rounding show.
INPUT, CACHED_INPUT, OUTPUT = 2_500_003, 1_250_007, 10_000_009
PRICE = {"input": 2.500003, "cached_input": 1.250007, "output": 10.000009}
SYSTEM = "You are a careful accountant who adds up every token. " * 4


class Reported(NamedTuple):
    """What the server said to the client."""

    request_id: str
    input_tokens: int
    """With those of the cache."""
    cached_tokens: int
    output_tokens: int


@pytest.fixture(scope="module")
def gateway(real_model: RealModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    key = {"env": "LAB_KEY"}
    with run_real_model(tmp_path_factory.mktemp("vectors"), real_model.api_key, VECTORS) as vectors:
        configuration = {
            "providers": {
                "lab": {"preset": "llamacpp", "base_url": f"{real_model.url}/v1", "api_key": key},
                "vectors": {"preset": "llamacpp", "base_url": f"{vectors.url}/v1", "api_key": key},
            },
            "models": {"real": {"targets": [f"lab/{MODEL}"]}, "vec": {"targets": [f"vectors/{MODEL}"]}},
            "prices": {f"lab/{MODEL}": PRICE, f"vectors/{MODEL}": PRICE},
            "policies": [{"name": "lab", "limits": [{"spend": 10, "per": "month"}]}],
            "keys": [{"name": "app"}],
        }
        folder = tmp_path_factory.mktemp("gateway")
        with run_gateway(folder, configuration, environment={"LAB_KEY": real_model.api_key}) as running:
            yield running


def ask_chat(gateway: Gateway, number: int, *, streamed: bool) -> Reported:
    messages: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question(number)}]
    asked: Any = {"model": "real", "messages": messages, "max_tokens": 4 + number}
    create = gateway.openai("app").chat.completions.with_raw_response.create
    raw: Any = create(**asked, stream=True, stream_options={"include_usage": True}) if streamed else create(**asked)
    usage = list(raw.parse())[-1].usage if streamed else raw.parse().usage
    cached = usage.prompt_tokens_details.cached_tokens
    return Reported(raw.headers["x-request-id"], usage.prompt_tokens, cached, usage.completion_tokens)


def ask_responses(gateway: Gateway, number: int, *, streamed: bool) -> Reported:
    create = gateway.openai("app").responses.with_raw_response.create
    raw: Any = create(
        model="real", instructions=SYSTEM, input=question(number), max_output_tokens=4 + number, stream=streamed
    )
    usage = list(raw.parse())[-1].response.usage if streamed else raw.parse().usage
    cached = usage.input_tokens_details.cached_tokens
    return Reported(raw.headers["x-request-id"], usage.input_tokens, cached, usage.output_tokens)


def ask_messages(gateway: Gateway, number: int, *, streamed: bool) -> Reported:
    asked: Any = {
        "model": "real",
        "system": SYSTEM,
        "messages": [{"role": "user", "content": question(number)}],
        "max_tokens": 4 + number,
    }
    create = gateway.anthropic("app").messages.with_raw_response.create
    if streamed:
        raw, events = _stream_from_its_start(lambda: create(**asked, stream=True))
        usage, output_tokens = events[0].message.usage, events[-2].usage.output_tokens
    else:
        raw = create(**asked)
        usage = raw.parse().usage
        output_tokens = usage.output_tokens
    cached = usage.cache_read_input_tokens or 0
    return Reported(raw.headers["x-request-id"], usage.input_tokens + cached, cached, output_tokens)


def _stream_from_its_start(ask: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Asks again where llama.cpp itself forgets `message_start`: when the first token is a part of a character."""
    for _ in range(PATIENCE):
        raw = ask()
        events = list(raw.parse())
        if events[0].type == "message_start":
            return raw, events
    raise AssertionError("no stream had a start")


def ask_vectors(gateway: Gateway, number: int, *, streamed: bool) -> Reported:
    assert not streamed
    raw = gateway.openai("app").embeddings.with_raw_response.create(model="vec", input=[question(number), "hello"])
    return Reported(raw.headers["x-request-id"], raw.parse().usage.prompt_tokens, 0, 0)


def question(number: int) -> str:
    return f"Question {number}?" * 3


Ask = Callable[..., Reported]


@pytest.mark.parametrize(
    ("ask", "streamed"),
    [
        (ask_chat, False),
        (ask_chat, True),
        (ask_responses, False),
        (ask_responses, True),
        (ask_messages, False),
        (ask_messages, True),
        (ask_vectors, False),
    ],
)
def test_tokens_and_cost_equal_what_the_server_reports(gateway: Gateway, ask: Ask, streamed: bool) -> None:
    reported = [ask(gateway, number, streamed=streamed) for number in range(CALLS)]
    gateway.settle()
    booked = {call["request_id"]: call for call in gateway.calls()}

    assert all(each.input_tokens for each in reported)
    assert any(each.cached_tokens for each in reported) == (ask is not ask_vectors)
    for each in reported:
        call = booked[each.request_id]
        found = (call["input_tokens"], call["cached_input_tokens"], call["output_tokens"])
        assert found == (each.input_tokens, each.cached_tokens, each.output_tokens)
        assert call["usage_source"] == "provider"
        assert call["cost_usd"] == f"{cost_nano_usd(each) / 1_000_000_000:.9f}"


# The test computes the price itself, because a wrong price engine would confirm its own mistakes.
def cost_nano_usd(each: Reported) -> int:
    uncached = each.input_tokens - each.cached_tokens
    pico_usd = uncached * INPUT + each.cached_tokens * CACHED_INPUT + each.output_tokens * OUTPUT
    return math.ceil(Fraction(pico_usd, 1_000))
