"""Command lines that others wrote, unchanged: a call, a stream, ten turns, and an exhausted budget."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.aimock import LOOP, TOKENS_OF_LOOP, TURNS, Aimock, case, run_aimock, tokens_of
from tests.clients.install import node, node_program, program_of
from tests.clients.mocked_gateway import CHEAP_KEY, PREPAID_KEY, RICH_KEY, calls_since, run_mocked_gateway
from tests.clients.program import own_environment
from tests.worlds.gateway import Gateway
from tests.worlds.refusals import refused_posts

pytestmark = [pytest.mark.e2e, pytest.mark.full]

_TIMEOUT_S = 100
GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-5"
FUNCTIONS = 'def get_weather(city: str) -> str:\n    "Tells the weather of a city."\n    return "rain"'
QUIET = ["--no-git", "--yes-always", "--no-show-model-warnings", "--no-check-update", "--analytics-disable"]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with run_aimock(tmp_path_factory.mktemp("aimock")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(aimock: Aimock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_mocked_gateway(tmp_path_factory.mktemp("gateway"), aimock) as running:
        yield running


class Programs:
    """Runs them in a folder that has nothing of whoever runs the tests."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self._gateway = gateway
        self._folder = folder

    def claude(self, prompt: str, key: str = RICH_KEY) -> subprocess.CompletedProcess[str]:
        environment = {
            "ANTHROPIC_BASE_URL": self._gateway.url,
            "ANTHROPIC_API_KEY": self._gateway.secret(key),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        options = ["--model", CLAUDE, "--bare", "--output-format", "json", "--allowed-tools", "Bash"]
        return self._run([str(node_program("claude")), "-p", prompt, *options], environment)

    def codex(self, prompt: str, key: str = RICH_KEY) -> subprocess.CompletedProcess[str]:
        provider = {"name": "gateway", "base_url": f"{self._gateway.url}/v1", "env_key": "SPENDGATE_KEY"}
        settings = {
            "model_provider": "gateway",
            "model_providers.gateway": {**provider, "wire_api": "responses"},
            # Nobody knows what a search of the provider costs.
            "web_search": "disabled",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={_toml(value)}")]
        options += ["-m", GPT, "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json"]
        environment = {"SPENDGATE_KEY": self._gateway.secret(key)}
        return self._run([str(node_program("codex")), "exec", *options, prompt], environment)

    def llm(self, prompt: str, *options: str, key: str = RICH_KEY) -> subprocess.CompletedProcess[str]:
        model = {"model_id": "gateway", "model_name": GPT, "api_base": f"{self._gateway.url}/v1"}
        models = json.dumps([{**model, "api_key_name": "gateway", "supports_tools": True}])
        (self._folder / "extra-openai-models.yaml").write_text(models)
        command = [str(program_of("llm", "llm")), "-m", "gateway", "--key", self._gateway.secret(key)]
        return self._run([*command, *options, prompt], {"LLM_USER_PATH": str(self._folder)})

    def aider(self, *options: str, key: str = RICH_KEY, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "OPENAI_API_BASE": f"{self._gateway.url}/v1",
            "OPENAI_API_KEY": self._gateway.secret(key),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [str(program_of("aider", "aider")), "--model", f"openai/{GPT}", "--no-pretty", *QUIET, *options]
        return self._run(command, environment, given)

    def _run(
        self, command: list[str], environment: dict[str, str], given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        variables = own_environment({"HOME": str(self._folder), **environment})
        variables["PATH"] = f"{node().parent}{os.pathsep}{variables['PATH']}"
        return subprocess.run(
            command,
            cwd=self._folder,
            env=variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )


@pytest.fixture
def programs(gateway: Gateway, tmp_path: Path) -> Programs:
    return Programs(gateway, tmp_path)


def test_claude_code_asks_and_works_in_a_loop_of_ten_turns(programs: Programs, gateway: Gateway) -> None:
    before = calls_since(gateway)
    said = json.loads(programs.claude(case(5)).stdout)
    (call,) = calls_since(gateway, before, calls=1)
    assert "case 5" in said["result"]
    assert (call["input_tokens"], call["output_tokens"], call["stream"]) == (*tokens_of(5), True)

    before = calls_since(gateway)
    said = json.loads(programs.claude(LOOP).stdout)
    assert said["result"] == "It rains everywhere."
    assert booked(calls_since(gateway, before, calls=TURNS + 1)) == TOKENS_OF_LOOP


def test_codex_asks_and_works_in_a_loop_of_ten_turns(programs: Programs, gateway: Gateway) -> None:
    before = calls_since(gateway)
    done = programs.codex(case(6))
    assert "case 6" in done.stdout, done.stdout
    assert booked(calls_since(gateway, before, calls=1)) == tokens_of(6)

    before = calls_since(gateway)
    done = programs.codex(LOOP)
    assert "It rains everywhere." in done.stdout, done.stdout
    assert booked(calls_since(gateway, before, calls=TURNS + 1)) == TOKENS_OF_LOOP


def test_llm_asks_streams_and_calls_a_tool_ten_times(programs: Programs, gateway: Gateway) -> None:
    for number, options in ((7, ["--no-stream"]), (8, [])):
        before = calls_since(gateway)
        done = programs.llm(case(number), *options)
        assert f"case {number}" in done.stdout, done.stderr
        (call,) = calls_since(gateway, before, calls=1)
        assert (booked([call]), call["stream"]) == (tokens_of(number), number == 8)

    before = calls_since(gateway)
    done = programs.llm(LOOP, "--functions", FUNCTIONS, "--chain-limit", "20")
    assert "It rains everywhere." in done.stdout, done.stderr
    assert booked(calls_since(gateway, before, calls=TURNS + 1)) == TOKENS_OF_LOOP


def test_aider_asks_streams_and_talks_for_ten_turns(programs: Programs, gateway: Gateway) -> None:
    for number, options in ((9, ["--no-stream"]), (10, [])):
        before = calls_since(gateway)
        done = programs.aider(*options, "--message", case(number))
        assert f"the answer to case {number}" in done.stdout, done.stdout
        (call,) = calls_since(gateway, before, calls=1)
        assert (booked([call]), call["stream"]) == (tokens_of(number), number == 10)

    before = calls_since(gateway)
    programs.aider(given="".join(f"{case(number)}\n" for number in range(20, 20 + TURNS)))
    calls = calls_since(gateway, before, calls=TURNS)
    assert {booked([call]) for call in calls} == {tokens_of(number) for number in range(20, 20 + TURNS)}


# Codex has words of its own for this code of an error.
@pytest.mark.parametrize(("program", "says"), [("claude", CHEAP_KEY), ("codex", "Quota exceeded"), ("llm", CHEAP_KEY)])
def test_an_exhausted_budget_is_one_request_and_the_person_sees_why(
    programs: Programs, gateway: Gateway, aimock: Aimock, program: str, says: str
) -> None:
    before, asked = refused_posts(gateway), len(aimock.journal())
    done = getattr(programs, program)(case(1), key=CHEAP_KEY)

    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert refused_posts(gateway, at_least=before + 1) == before + 1
    assert len(aimock.journal()) == asked


def test_aider_tries_again_for_a_minute_and_shows_why(programs: Programs, gateway: Gateway, aimock: Aimock) -> None:
    """It heeds neither the header nor the status. Nothing of it reaches the provider."""
    asked = len(aimock.journal())
    done = programs.aider("--no-stream", "--message", case(1), key=PREPAID_KEY)

    assert "Budget prepaid is exhausted" in done.stdout
    assert len(aimock.journal()) == asked


def booked(calls: list[dict[str, Any]]) -> tuple[int, int]:
    """Input and output of all these."""
    return sum(call["input_tokens"] for call in calls), sum(call["output_tokens"] for call in calls)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}={_toml(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)
