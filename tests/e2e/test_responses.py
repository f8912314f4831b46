"""The Responses API through the whole gateway, with OpenAI's SDK: metered, cut near a limit, and nothing unseen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, amount, run_gateway
from tests.worlds.limited_keys import limited_keys, newest_call

pytestmark = pytest.mark.e2e

ASK = "Answer in 24 tokens, please."
LIMITS: dict[str, dict[str, Any]] = {
    "app": {"spend": 100},
    "narrow": {"output_tokens": 100},
    "cut-off": {"spend": 100},
    "free-of-spend": {"requests": 100},
}
CONFIGURATION = {
    "models": {
        "gpt": {"targets": ["openai/gpt-4o"]},
        "gpt-or-other": {"targets": ["openai/gpt-4o", "openai/gpt-4o-mini"]},
        "unknown-window": {"targets": ["openai/home-made"]},
    },
    "prices": {
        "openai/gpt-4o": {"input": 1, "output": 100},
        "openai/gpt-4o-mini": {"input": 1, "output": 100},
        "openai/home-made": {"input": 1, "output": 1},
    },
    **limited_keys(LIMITS),
}
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": None,
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("responses"), CONFIGURATION, vendors) as running:
        yield running


@pytest.mark.parametrize("streamed", [False, True])
def test_openais_sdk_gets_answers_and_the_ledger_books_what_the_provider_counted(
    gateway: Gateway, providers: Providers, streamed: bool
) -> None:
    asked: Any = {"model": "gpt", "input": ASK, "instructions": "Be brief."}
    if streamed:
        with gateway.openai("app").responses.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            done = stream.get_final_response()
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    else:
        done = gateway.openai("app").responses.create(**asked)
    call, (received,) = newest_call(gateway, "app"), providers.requests(Vendor.OPENAI)

    assert done.output_text
    assert done.usage is not None
    assert received.path == "/v1/responses"
    assert received.document["model"] == "gpt-4o"
    assert "stream_options" not in received.document
    assert (call["input_tokens"], call["output_tokens"]) == (done.usage.input_tokens, 24)
    assert (call["usage_source"], call["stream"]) == ("provider", streamed)
    assert Decimal(call["cost_usd"]) == Decimal(done.usage.input_tokens + 24 * 100) / 1_000_000


def test_a_loop_of_tools_goes_over_many_turns(gateway: Gateway) -> None:
    client = gateway.openai("app")
    items: list[Any] = [{"role": "user", "content": "Call get_weather for Oslo."}]
    for _ in range(10):
        done = client.responses.create(model="gpt", input=items, tools=[TOOL], tool_choice="required")
        if done.output[0].type != "function_call":
            break
        assert json.loads(done.output[0].arguments) == {"city": "simulated"}
        called = done.output[0]
        items += [called.model_dump(exclude_none=True)]
        items += [{"type": "function_call_output", "call_id": called.call_id, "output": "rain"}]
        items += [{"role": "user", "content": "Call get_weather again."}]
    last = client.responses.create(model="gpt", input=[*items[:-1]], tools=[TOOL])

    assert len(items) == 31
    assert last.output_text


def test_structured_output_is_parsed(gateway: Gateway) -> None:
    class Forecast(BaseModel):
        city: str
        days: list[int]

    done = gateway.openai("app").responses.parse(model="gpt", input=ASK, text_format=Forecast)

    assert done.output_parsed == Forecast(city="simulated", days=[7])


def test_output_is_cut_to_what_is_left_and_then_refused(gateway: Gateway, providers: Providers) -> None:
    client = gateway.openai("narrow")
    first = client.responses.with_raw_response.create(model="gpt", input="Answer in 80 tokens, please.")
    (received,) = providers.requests(Vendor.OPENAI)
    gateway.settle()
    with pytest.raises(openai.RateLimitError):
        _ask_again(gateway, times=3)
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "narrow"]

    assert first.parse().status == "completed"
    assert first.headers["x-spendgate-output-capped"] == "100"
    assert received.document["max_output_tokens"] == 100
    assert 80 <= amount(counter, "settled") <= 100


def _ask_again(gateway: Gateway, times: int) -> None:
    for _ in range(times):
        gateway.openai("narrow").responses.create(model="gpt", input="Answer in 80 tokens, please.")
        gateway.settle()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools=web_search"),
        ({"tools": [TOOL, {"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools=code_interpreter"),
        ({"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://example.org"}]}, "tools=mcp"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"service_tier": "priority"}, "service_tier=priority"),
    ],
)
def test_what_could_spend_unseen_is_refused_by_name_under_a_limit_on_spend(
    gateway: Gateway, providers: Providers, more: dict[str, Any], named: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.openai("app").responses.create(model="gpt", input=ASK, **more)
    assert named in str(refused.value)
    assert refused.value.param == named.partition("=")[0]
    assert providers.requests(Vendor.OPENAI) == []

    gateway.openai("free-of-spend").responses.create(model="gpt", input=ASK, **more)
    assert len(providers.requests(Vendor.OPENAI)) == 1


def test_what_the_provider_kept_holds_the_whole_window(gateway: Gateway, providers: Providers) -> None:
    gateway.openai("app").responses.create(model="gpt", input=ASK, previous_response_id="resp_1")
    (received,) = providers.requests(Vendor.OPENAI)
    with pytest.raises(openai.BadRequestError, match="input from beyond the request"):
        gateway.openai("app").responses.create(model="unknown-window", input=ASK, previous_response_id="resp_1")

    assert received.document["previous_response_id"] == "resp_1"
    assert len(providers.requests(Vendor.OPENAI)) == 1


def test_nobody_reaches_what_the_account_keeps(gateway: Gateway, providers: Providers) -> None:
    client = gateway.openai("app")
    for attempt in (
        lambda: client.responses.retrieve("resp_1"),
        lambda: client.responses.delete("resp_1"),
        lambda: client.responses.cancel("resp_1"),
        lambda: list(client.responses.input_items.list("resp_1")),
    ):
        with pytest.raises(openai.NotFoundError, match="the account that all keys share"):
            attempt()
    assert providers.requests(Vendor.OPENAI) == []


def test_a_stream_that_breaks_off_is_settled_from_its_evidence_and_the_rest_stays_in_doubt(
    gateway: Gateway, providers: Providers
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.CUT, after_events=7))
    # The SDK lets the transport's own error pass.
    with pytest.raises((openai.APIError, httpx.HTTPError)):
        list(gateway.openai("cut-off").responses.create(model="gpt", input=ASK, stream=True, max_output_tokens=60))
    call = newest_call(gateway, "cut-off")
    (counter,) = [each for each in gateway.budgets() if each["policy"] == "cut-off"]

    assert call["usage_source"] == "estimated"
    assert 0 < call["output_tokens"] <= 60
    assert amount(counter, "doubt") > 0


def test_a_failure_before_the_first_byte_falls_back(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=503))
    done = gateway.openai("app").responses.create(model="gpt-or-other", input=ASK)

    assert done.model == "gpt-4o-mini"
