"""Against a provider that none of us wrote: what is booked equals what it reports, call by call, in every dialect."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any, Protocol

import pytest

from tests.clients.aimock import Aimock, case, run_aimock, tokens_of
from tests.clients.install import node_script
from tests.clients.mocked_gateway import INPUT_USD, OUTPUT_USD, RICH_KEY, run_mocked_gateway
from tests.clients.program import Program, run_program
from tests.clients.sdks import NodeSdks
from tests.worlds.gateway import Gateway

pytestmark = [pytest.mark.e2e, pytest.mark.full]

NUMBERS = count(1)
Tokens = tuple[int, int]


class Asker(Protocol):
    """SDKs of one language. Each method returns the tokens that the SDK told its caller."""

    def chat(self, model: str, text: str, *, streamed: bool) -> Tokens: ...
    def messages(self, model: str, text: str, *, streamed: bool) -> Tokens: ...
    def content(self, model: str, text: str, *, streamed: bool) -> Tokens: ...
    def responses(self, model: str, text: str, *, streamed: bool) -> Tokens: ...
    def vectors(self, model: str, text: str, *, streamed: bool) -> Tokens: ...


class InPython:
    """The SDKs in Python."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def chat(self, model: str, text: str, *, streamed: bool) -> Tokens:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 500}
        create = self._gateway.openai(RICH_KEY).chat.completions.create
        if streamed:
            usage = list(create(**asked, stream=True, stream_options={"include_usage": True}))[-1].usage
        else:
            usage = create(**asked).usage
        return usage.prompt_tokens, usage.completion_tokens

    def messages(self, model: str, text: str, *, streamed: bool) -> Tokens:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 500}
        messages = self._gateway.anthropic(RICH_KEY).messages
        if not streamed:
            usage = messages.create(**asked).usage
        else:
            with messages.stream(**asked) as stream:
                usage = stream.get_final_message().usage
        return usage.input_tokens, usage.output_tokens

    def content(self, model: str, text: str, *, streamed: bool) -> Tokens:
        models = self._gateway.gemini(RICH_KEY).models
        if streamed:
            usage: Any = list(models.generate_content_stream(model=model, contents=text))[-1].usage_metadata
        else:
            usage = models.generate_content(model=model, contents=text).usage_metadata
        return usage.prompt_token_count, usage.candidates_token_count

    def responses(self, model: str, text: str, *, streamed: bool) -> Tokens:
        responses = self._gateway.openai(RICH_KEY).responses
        if streamed:
            with responses.stream(model=model, input=text) as stream:
                usage: Any = stream.get_final_response().usage
        else:
            usage = responses.create(model=model, input=text).usage
        return usage.input_tokens, usage.output_tokens

    def vectors(self, model: str, text: str, *, streamed: bool) -> Tokens:
        assert not streamed
        return self._gateway.openai(RICH_KEY).embeddings.create(model=model, input=text).usage.prompt_tokens, 0


class InNode:
    """The SDKs in Node."""

    def __init__(self, sdks: NodeSdks) -> None:
        self._sdks = sdks

    def chat(self, model: str, text: str, *, streamed: bool) -> Tokens:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 500}
        if streamed:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        usage = self._usage("openai: chat.completions.create", asked, streamed)["usage"]
        return usage["prompt_tokens"], usage["completion_tokens"]

    def messages(self, model: str, text: str, *, streamed: bool) -> Tokens:
        asked = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 500}
        method, form = ("stream", "final") if streamed else ("create", "value")
        usage = self._sdks.call(RICH_KEY, f"anthropic: messages.{method}", asked, form=form)["usage"]
        return usage["input_tokens"], usage["output_tokens"]

    def content(self, model: str, text: str, *, streamed: bool) -> Tokens:
        method = "generateContentStream" if streamed else "generateContent"
        usage = self._usage(f"google: models.{method}", {"model": model, "contents": text}, streamed)["usageMetadata"]
        return usage["promptTokenCount"], usage["candidatesTokenCount"]

    def responses(self, model: str, text: str, *, streamed: bool) -> Tokens:
        asked = {"model": model, "input": text, "stream": streamed}
        last = self._usage("openai: responses.create", asked, streamed)
        usage = (last["response"] if streamed else last)["usage"]
        return usage["input_tokens"], usage["output_tokens"]

    def vectors(self, model: str, text: str, *, streamed: bool) -> Tokens:
        return self._usage("openai: embeddings.create", {"model": model, "input": text}, streamed)["usage"][
            "prompt_tokens"
        ], 0

    def _usage(self, method: str, asked: dict[str, Any], streamed: bool) -> Any:
        answer = self._sdks.call(RICH_KEY, method, asked, form="list" if streamed else "value")
        return answer[-1] if streamed else answer


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with run_aimock(tmp_path_factory.mktemp("aimock")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(aimock: Aimock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_mocked_gateway(tmp_path_factory.mktemp("gateway"), aimock) as running:
        yield running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with run_program(node_script("sdks.mjs"), tmp_path_factory.mktemp("sdks")) as running:
        yield running


@pytest.fixture(params=["python", "node"])
def asker(request: pytest.FixtureRequest, gateway: Gateway, program: Program) -> Asker:
    return InPython(gateway) if request.param == "python" else InNode(NodeSdks(program, gateway))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("dialect", "model"),
    [
        ("chat", "gpt-4o"),
        ("chat", "claude-sonnet-4-5"),
        ("messages", "claude-sonnet-4-5"),
        ("messages", "gpt-4o"),
        ("content", "gemini-2.5-flash"),
        ("responses", "gpt-4o"),
    ],
)
def test_tokens_and_cost_are_those_that_the_mock_reports(
    asker: Asker, gateway: Gateway, aimock: Aimock, dialect: str, model: str, streamed: bool
) -> None:
    number = next(NUMBERS)
    told = getattr(asker, dialect)(model, case(number), streamed=streamed)

    check_booked(gateway, aimock, number, told)


def test_vectors_are_booked_as_the_mock_reports_them(asker: Asker, gateway: Gateway) -> None:
    """It reports no tokens for them, whatever its fixtures say: an explicit zero is a count, too."""
    told = asker.vectors("text-embedding-3-small", case(next(NUMBERS)), streamed=False)
    gateway.settle()
    (call,) = gateway.calls(limit=1)

    assert told == (call["input_tokens"], call["output_tokens"]) == (0, 0)
    assert (call["operation"], call["usage_source"]) == ("embeddings", "provider")
    assert Decimal(call["cost_usd"]) == 0


def check_booked(gateway: Gateway, aimock: Aimock, number: int, told: Tokens) -> None:
    """The newest call has the tokens of the case, by the mock's own journal and by what the client was told."""
    asked = aimock.journal()[-1]
    reported = asked["response"]["fixture"]["response"]["usage"]
    wanted = tokens_of(number)
    gateway.settle()
    (call,) = gateway.calls(limit=1)
    assert call["request_id"] == asked["headers"]["x-request-id"]
    assert (call["input_tokens"], call["output_tokens"]) == wanted == told
    assert wanted == (reported["prompt_tokens"], reported["completion_tokens"])
    assert call["usage_source"] == "provider"
    assert Decimal(call["cost_usd"]) == Decimal(wanted[0] * INPUT_USD + wanted[1] * OUTPUT_USD) / 1_000_000
