"""A budget of $1.00 and 500 clients at once, each asking for a call of exactly one cent: the limit is a fact."""

from __future__ import annotations

import asyncio
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from services.router.adapters.envoy_resources_listeners import DATA_LISTENER
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.redis_process import RedisProcess
from tests.worlds.second_envoy import second_envoy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLIENTS = 500
# $100 per million output tokens: 100 tokens are one cent. Input is free, so a call costs exactly that.
PRICE = {"input": 0, "output": 100}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
SHORTEST_WAIT_MS = 250
RUNS = int(os.environ.get("SPENDGATE_BUDGET_RUNS", "1"))


CONFIGURATION = {
    "models": {"exact": {"targets": ["openai/exact"]}},
    "prices": {"openai/exact": PRICE},
    "policies": [{"name": "a-dollar", "limits": [{"spend": 1, "per": "month"}]}],
    "keys": [{"name": "crowd"}],
}


# Each amount by one of the two, so that both are tried in a short run.
SHORT, LONG = 100, 300


def _amounts(*, often: int) -> list[Any]:
    """Calls that hold their cost, or thrice their cost. The one that is not tried often needs its minutes."""
    names = {SHORT: "held-is-cost", LONG: "held-is-thrice-the-cost"}
    return [
        pytest.param(amount, id=name, marks=() if amount == often else pytest.mark.full)
        for amount, name in names.items()
    ]


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("max_tokens", _amounts(often=SHORT))
def test_a_dollar_buys_a_hundred_cents_and_nothing_more(
    providers: Providers, tmp_path: Path, max_tokens: int, run: int
) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        _spend_a_dollar(gateway, max_tokens)


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("max_tokens", _amounts(often=LONG))
def test_it_does_so_over_two_envoys_and_four_quotas_that_share_a_redis(
    *, providers: Providers, redis_process: RedisProcess, tmp_path: Path, max_tokens: int, run: int
) -> None:
    options: Any = {
        "environment": {"SPENDGATE_COUNTERS": redis_process.url},
        "arguments": ("--quota-replicas", "4"),
    }
    with run_gateway(tmp_path, CONFIGURATION, providers, **options) as gateway, second_envoy(gateway) as second:
        _spend_a_dollar(gateway, max_tokens)
        # The faster Envoy may take all calls, but both ask quota.
        for stats in (gateway.envoy_stats(f"http.{DATA_LISTENER}."), second.stats(f"http.{DATA_LISTENER}.")):
            assert stats["downstream_rq_total"] > CLIENTS // 10


def _spend_a_dollar(gateway: Gateway, max_tokens: int) -> None:
    wire = Wire()
    outcomes = asyncio.run(_crowd(gateway, max_tokens, wire))
    gateway.settle()
    budget = gateway.budget("a-dollar")
    settled = Decimal(budget["settled_usd"])
    served = outcomes.count("served")
    assert settled <= 1
    assert served >= 95
    assert settled == served * Decimal("0.01") == Decimal(gateway.usage()["total"]["cost_usd"])
    assert set(outcomes) <= {"served", "insufficient_quota", "request_exceeds_remaining_budget", "gave up"}
    assert wire.served_after_exhaustion == 0
    # A client that only met calls in flight was told when to come back; a client that met an exhausted budget, not to.
    assert min(wire.waits_ms, default=SHORTEST_WAIT_MS) >= SHORTEST_WAIT_MS
    assert wire.misleading == 0
    if settled == 1:
        late = asyncio.run(_crowd(gateway, max_tokens, Wire(), clients=20))
        assert set(late) == {"insufficient_quota"}
    assert gateway.budget("a-dollar")["settled_usd"] == budget["settled_usd"]


class Wire:
    """Records what the SDK sends and receives in each try."""

    def __init__(self) -> None:
        self.exhausted_at = float("inf")
        """Monotonic seconds of the first answer that the budget is spent."""
        self.served_after_exhaustion = 0
        self.waits_ms: list[int] = []
        """Of `retry-after-ms`, whenever only calls in flight were in the way."""
        self.misleading = 0
        """Refusals whose headers say something else than their code."""

    async def sends(self, request: Any) -> None:
        """Hook of the SDK's HTTP client."""
        request.extensions["sent_at"] = time.monotonic()

    async def gets(self, response: Any) -> None:
        """Hook of the SDK's HTTP client."""
        if response.status_code == 200:
            self.served_after_exhaustion += response.request.extensions["sent_at"] > self.exhausted_at
        elif response.status_code == 429:
            await response.aread()
            self._note_refusal(response)

    def _note_refusal(self, response: Any) -> None:
        contention = response.json()["error"]["code"] == "rate_limit_exceeded"
        if contention:
            self.waits_ms.append(int(response.headers["retry-after-ms"]))
        elif response.json()["error"]["code"] == "insufficient_quota":
            self.exhausted_at = min(self.exhausted_at, time.monotonic())
        self.misleading += (response.headers.get("x-should-retry") == "false") is contention


async def _crowd(gateway: Gateway, max_tokens: int, wire: Wire, clients: int = CLIENTS) -> list[str]:
    """All at once, half of them streaming; the SDK itself honours `retry-after-ms`, at most 20 tries in all."""
    http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [wire.sends], "response": [wire.gets]})
    async with openai.AsyncOpenAI(
        api_key=gateway.secret("crowd"), base_url=f"{gateway.url}/v1", max_retries=19, timeout=120, http_client=http
    ) as client:
        return list(await asyncio.gather(*(_call(client, max_tokens, stream=at % 2 == 0) for at in range(clients))))


async def _call(client: openai.AsyncOpenAI, max_tokens: int, *, stream: bool) -> str:
    try:
        if stream:
            chunks = await client.chat.completions.create(
                model="exact", messages=ASK, max_tokens=max_tokens, stream=True
            )
            finished = [chunk.choices[0].finish_reason async for chunk in chunks][-1]
        else:
            done = await client.chat.completions.create(model="exact", messages=ASK, max_tokens=max_tokens)
            finished = done.choices[0].finish_reason
    except openai.RateLimitError as refused:
        return "gave up" if refused.code == "rate_limit_exceeded" else str(refused.code)
    assert finished in {"stop", "length"}
    return "served"
