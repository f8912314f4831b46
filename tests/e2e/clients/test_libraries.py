"""Agents and chat libraries, unchanged: a call, a stream, a loop of ten turns over a tool, and an exhausted budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, NamedTuple

import pytest

from tests.clients.aimock import LOOP, TOKENS_OF_LOOP, TURNS, Aimock, case, run_aimock, tokens_of
from tests.clients.install import node_script, python_of
from tests.clients.mocked_gateway import CHEAP_KEY, PREPAID_KEY, RICH_KEY, calls_since, run_mocked_gateway
from tests.clients.program import Program, Raised, run_program
from tests.worlds.gateway import Gateway
from tests.worlds.refusals import refused_posts

pytestmark = [pytest.mark.e2e, pytest.mark.full]

NUMBERS = count(200)
COMMANDS: dict[str, Callable[[], list[str]]] = {
    "openai-agents": lambda: [str(python_of("agents")), "-m", "tests.clients.python.agents_client"],
    "langchain": lambda: [str(python_of("langchain")), "-m", "tests.clients.python.langchain_client"],
    "pydantic-ai": lambda: [str(python_of("pydantic_ai")), "-m", "tests.clients.python.pydantic_ai_client"],
    "vercel": lambda: node_script("vercel.mjs"),
}
GPT, CLAUDE, GEMINI = "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"


class Library(NamedTuple):
    """A way to call the gateway."""

    program: str
    dialect: str
    model: str


LIBRARIES = [
    Library("openai-agents", "openai", GPT),
    Library("openai-agents", "openai", CLAUDE),
    Library("openai-agents", "responses", GPT),
    Library("langchain", "openai", GPT),
    Library("langchain", "openai", CLAUDE),
    Library("langchain", "responses", GPT),
    Library("langchain", "anthropic", CLAUDE),
    Library("langchain", "anthropic", GPT),
    Library("langchain", "gemini", GEMINI),
    Library("pydantic-ai", "openai", GPT),
    Library("pydantic-ai", "openai", CLAUDE),
    Library("pydantic-ai", "responses", GPT),
    Library("pydantic-ai", "anthropic", CLAUDE),
    Library("pydantic-ai", "anthropic", GPT),
    Library("pydantic-ai", "gemini", GEMINI),
    Library("vercel", "openai", GPT),
    Library("vercel", "openai", CLAUDE),
    Library("vercel", "compatible", GPT),
    Library("vercel", "responses", GPT),
    Library("vercel", "anthropic", CLAUDE),
    Library("vercel", "anthropic", GPT),
    Library("vercel", "gemini", GEMINI),
]
# They retry a 429 whatever `x-should-retry` says. With 402 they take the first answer.
RETRY_429 = {"vercel", "langchain gemini"}

# It reads the input of a stream from the last event, where this mock, unlike its model, has none.
OVERLOOKS_INPUT = Library("langchain", "anthropic", CLAUDE)


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with run_aimock(tmp_path_factory.mktemp("aimock")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(aimock: Aimock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_mocked_gateway(tmp_path_factory.mktemp("gateway"), aimock) as running:
        yield running


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Program]]:
    """Starts each program when it is first wanted."""
    with ExitStack() as stack:
        running: dict[str, Program] = {}

        def started(name: str) -> Program:
            if name not in running:
                folder = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(run_program(COMMANDS[name](), folder))
            return running[name]

        yield started


@pytest.fixture(params=LIBRARIES, ids="-".join)
def work(
    request: pytest.FixtureRequest, programs: Callable[[str], Program], gateway: Gateway
) -> Callable[..., dict[str, Any]]:
    """Does a job with a library."""
    program, dialect, model = request.param

    def ask(do: str, prompt: str, key: str = RICH_KEY) -> dict[str, Any]:
        job = {"do": do, "url": gateway.url, "secret": gateway.secret(key)}
        return dict(programs(program).ask(job | {"dialect": dialect, "model": model, "prompt": prompt}))

    return ask


Work = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("do", ["plain", "stream"])
def test_what_a_library_is_told_is_what_is_booked(
    work: Work, gateway: Gateway, request: pytest.FixtureRequest, do: str
) -> None:
    library = request.node.callspec.params["work"]
    before, number = calls_since(gateway), next(NUMBERS)
    answer = work(do, case(number))
    (call,) = calls_since(gateway, before, calls=1)

    assert f"case {number}" in answer["text"]
    assert (call["input_tokens"], call["output_tokens"]) == tokens_of(number)
    assert call["usage_source"] == "provider"
    # A library may make a stream of a plain call, but none makes a plain call of a stream.
    assert call["stream"] or do == "plain"
    told = (0 if library == OVERLOOKS_INPUT and do == "stream" else tokens_of(number)[0], tokens_of(number)[1])
    assert (answer["input_tokens"], answer["output_tokens"]) == told


def test_a_loop_over_a_tool_takes_ten_turns(work: Work, gateway: Gateway) -> None:
    before = calls_since(gateway)
    answer = work("loop", LOOP)
    calls = calls_since(gateway, before, calls=TURNS + 1)

    assert answer["text"] == "It rains everywhere."
    assert (answer["input_tokens"], answer["output_tokens"]) == TOKENS_OF_LOOP
    booked = tuple(sum(call[name] for call in calls) for name in ("input_tokens", "output_tokens"))
    assert booked == TOKENS_OF_LOOP


@pytest.mark.parametrize("do", ["plain", "stream"])
def test_an_exhausted_budget_is_one_request_and_an_error_that_names_the_policy(
    work: Work, gateway: Gateway, aimock: Aimock, request: pytest.FixtureRequest, do: str
) -> None:
    library: Library = request.node.callspec.params["work"]
    retries = library.program in RETRY_429 or f"{library.program} {library.dialect}" in RETRY_429
    key, status = (PREPAID_KEY, 402) if retries else (CHEAP_KEY, 429)
    before, asked = refused_posts(gateway), len(aimock.journal())
    started = time.monotonic()
    with pytest.raises(Raised, match=key) as refused:
        work(do, case(1), key)

    assert refused.value.status in {status, None}
    assert refused_posts(gateway, at_least=before + 1) == before + 1
    assert len(aimock.journal()) == asked
    assert time.monotonic() - started < 10
