"""The default policies stop an agent that goes round in circles with a growing context."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e]

# $1 000 per million output tokens: 100 tokens are ten cents. Input is $10 per million.
CONFIGURATION: dict[str, Any] = {
    "models": {
        "dear": {
            "targets": ["openai/dear"],
            "fallbacks": [{"to": ["openai/cheap"], "when": {"budget_used": "99%"}}],
        }
    },
    "prices": {"openai/dear": {"input": 10, "output": 1000}, "openai/cheap": {"input": 10, "output": 900}},
    "teams": {"agents": {}, "others": {}},
    "default_policies": True,
    "keys": [
        {"name": "loop", "team": "agents", "environment": "prod"},
        {"name": "runner", "team": "agents", "environment": "prod"},
        {"name": "calm", "team": "others", "environment": "prod"},
        {"name": "lab", "team": "others", "environment": "dev"},
    ],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("loop"), CONFIGURATION, vendors) as running:
        yield running


def loop(gateway: Gateway, key: str, *, run: str = "", seconds: float = 60) -> tuple[list[str], openai.APIStatusError]:
    """Asks the same again and again with a growing context; returns the models that served and what stopped it."""
    client = gateway.openai(key)
    messages: list[Any] = [{"role": "user", "content": "Answer in 100 tokens."}]
    served: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            answer = client.chat.completions.create(
                model="dear", messages=messages, max_tokens=100, extra_headers={"x-spendgate-run": run} if run else {}
            )
        except openai.APIStatusError as stopped:
            return served, stopped
        served.append(answer.model)
        messages += [
            {"role": "assistant", "content": answer.choices[0].message.content},
            {"role": "user", "content": "Answer in 100 tokens."},
        ]
        # A tool takes time as well, and the call is booked meanwhile.
        time.sleep(0.05)
    pytest.fail(f"{len(served)} calls in {seconds} s, and nobody stopped it")


def test_a_loop_is_slowed_down_and_stopped_within_a_minute(gateway: Gateway) -> None:
    before = time.monotonic()
    served, stopped = loop(gateway, "loop", run="circles")

    assert time.monotonic() - before < 60
    assert isinstance(stopped, openai.RateLimitError)
    assert "spends far faster than it usually does" in str(stopped)
    assert stopped.response.headers["x-should-retry"] == "false"
    assert set(served) == {"dear", "cheap"}
    assert served == sorted(served, reverse=True)
    gateway.settle()
    told = [alert for alert in gateway.json("alerts", "list")["alerts"] if alert.get("policy") == "default-prod"]
    assert {alert["threshold"] for alert in told} == {"50%", "80%"}
    # The alert leads to the loop: the run that the agent named, one of its calls, and that call's trace.
    calls = {each["id"]: each for each in gateway.calls()}
    for alert in told:
        assert alert["run"] == "circles"
        assert alert["trace_id"] == calls[alert["call"]]["trace_id"]
    # Others of the team, and other teams, go on.
    for key in ("runner", "calm", "lab"):
        gateway.openai(key).chat.completions.create(
            model="dear", messages=[{"role": "user", "content": "Answer in 5 tokens."}], max_tokens=5
        )
