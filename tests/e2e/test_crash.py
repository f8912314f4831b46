"""kill -9 of each process under load: the service is back by itself, and in the end every dollar is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from tests.e2e.environment import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONFIGURATION = {
    "models": {"chat": {"targets": ["openai/gpt-4o"], "fallbacks": [{"to": ["anthropic/claude-haiku-4-5"]}]}},
    "teams": {"red": {}, "blue": {}},
    "policies": [
        {"name": team, "match": {"team": team}, "limits": [{"spend": 1000, "per": "month"}]} for team in ("red", "blue")
    ],
    "keys": [{"name": "red", "team": "red"}, {"name": "blue", "team": "blue"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 60 tokens."}]
BEFORE_S, AFTER_S = 1.5, 4.0
BACK_TIMEOUT_S = 20.0
# A reservation whose Envoy is gone ends when the ledger has booked all that Envoy wrote.
SETTLE_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("crash"), CONFIGURATION, vendors) as running:
        yield running


@pytest.mark.parametrize("name", ["quota", "router", "ledger", "envoy"])
def test_a_killed_process_comes_back_and_the_books_balance(gateway: Gateway, name: str, providers: Providers) -> None:
    victim = gateway.pids()[name]
    with _load(gateway) as served:
        time.sleep(BEFORE_S)
        os.kill(victim, signal.SIGKILL)
        time.sleep(AFTER_S)
    assert served["before"]
    _assert_back(gateway)
    assert gateway.pids()[name] != victim
    gateway.settle(timeout_s=SETTLE_TIMEOUT_S)
    _assert_balanced(gateway)


@contextlib.contextmanager
def _load(gateway: Gateway) -> Iterator[dict[str, int]]:
    """Six clients that call as fast as they can, half of them streaming, until the block ends."""
    stopping = threading.Event()
    served = {"before": 0}

    def call_on(client: openai.OpenAI, *, stream: bool) -> None:
        while not stopping.is_set():
            with contextlib.suppress(openai.APIError):
                answer: Any = client.chat.completions.create(model="chat", messages=ASK, max_tokens=100, stream=stream)
                if stream:
                    list(answer)
                served["before"] += 1

    threads = [
        threading.Thread(
            target=call_on, args=(gateway.openai(("red", "blue")[at % 2]),), kwargs={"stream": at % 3 == 0}
        )
        for at in range(6)
    ]
    for thread in threads:
        thread.start()
    try:
        yield served
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=60)


def _assert_back(gateway: Gateway) -> None:
    """Ten calls in a row are served, soon."""
    deadline = time.monotonic() + BACK_TIMEOUT_S
    client = gateway.openai("red")
    row = 0
    while row < 10:
        try:
            client.chat.completions.create(model="chat", messages=ASK, max_tokens=100)
            row += 1
        except openai.APIError:
            row = 0
            assert time.monotonic() < deadline, "the service did not come back"
            time.sleep(0.1)


def _assert_balanced(gateway: Gateway) -> None:
    booked = {row["team"]: Decimal(row["cost_usd"]) for row in gateway.usage("team")["usage"]}
    for team in ("red", "blue"):
        budget = gateway.budget(team)
        assert Decimal(budget["reserved_usd"]) == 0
        assert Decimal(budget["settled_usd"]) == booked[team]
