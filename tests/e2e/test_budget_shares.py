"""Near a limit calls share the rest: no call that fits is refused, and the limit holds."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from services.simulator.faults import Fault, FaultKind, Latency
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CLIENTS = 200
AFFORDABLE = 88
CENT = Decimal("0.01")
LIMIT = AFFORDABLE * CENT
# $100 per million output tokens: 100 tokens are one cent. Input is free, so an answer of 100 tokens costs exactly that.
PRICE = {"input": 0, "output": 100}
ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
FACTOR = 6
# 80 tokens.
NEARLY_USED = Decimal("0.008")


def configured(spend: Decimal, targets: list[str] | None = None) -> dict[str, Any]:
    names = targets or ["openai/exact"]
    return {
        "models": {"exact": {"targets": names}},
        "prices": dict.fromkeys(names, PRICE),
        "policies": [
            {
                "name": "shared",
                "limits": [{"spend": float(spend), "per": "month"}],
                "thresholds": [{"at": "80%", "notify": ["lead"]}, {"at": "100%", "notify": ["lead", "finance"]}],
            }
        ],
        "channels": {name: {"url": f"json://127.0.0.1:9/{name}"} for name in ("lead", "finance")},
        "keys": [{"name": "crowd"}],
    }


def test_two_hundred_calls_without_a_bound_share_a_budget_of_eighty_eight(providers: Providers, tmp_path: Path) -> None:
    with run_gateway(tmp_path, configured(LIMIT), providers) as gateway:
        outcomes = asyncio.run(crowd(gateway))
        gateway.settle()
        settled = Decimal(gateway.budget("shared")["settled_usd"])

    served = outcomes.count("served")
    assert served >= AFFORDABLE - 2
    assert settled == served * CENT <= LIMIT
    assert set(outcomes) <= {"served", "insufficient_quota", "gave up"}
    # No client hears that the budget is spent before it is.
    assert settled == LIMIT or "insufficient_quota" not in outcomes


def test_twenty_calls_without_a_bound_on_ten_dollars_are_all_served_in_full(
    providers: Providers, tmp_path: Path
) -> None:
    # Their ceilings together are more than $16, what they take is 20 cents.
    providers.by_vendor[Vendor.OPENAI].latency = Latency(first_byte_p50_ms=200, first_byte_p95_ms=400)
    with run_gateway(tmp_path, configured(Decimal(10)), providers) as gateway:
        outcomes = asyncio.run(crowd(gateway, clients=20))
        gateway.settle(calls=20)
        settled = Decimal(gateway.budget("shared")["settled_usd"])

    assert outcomes == ["served"] * 20
    assert settled == 20 * CENT


@pytest.mark.parametrize("max_tokens", [None, 100], ids=["bounded-by-us", "bounded-by-the-client"])
def test_a_provider_that_bills_six_times_what_it_was_allowed_is_booked_in_full_and_reported(
    providers: Providers, tmp_path: Path, max_tokens: int | None
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.OVERBILL, times=None, factor=FACTOR))
    # Longer than all of them need to arrive, so that nothing is settled while any of them is let through.
    providers.by_vendor[Vendor.OPENAI].latency = Latency(first_byte_p50_ms=6_000, first_byte_p95_ms=6_000)
    options = {} if max_tokens is None else {"max_tokens": max_tokens}
    with run_gateway(tmp_path, configured(LIMIT), providers) as gateway:
        outcomes = asyncio.run(crowd(gateway, **options))
        gateway.settle()
        settled = Decimal(gateway.budget("shared")["settled_usd"])
        (overrun,) = [alert for alert in gateway.json("alerts", "list")["alerts"] if alert["kind"] == "overrun"]
        late = asyncio.run(crowd(gateway, clients=5, **options))

    served = [cap_of(received.document) for received in providers.requests(Vendor.OPENAI)]
    excess = (FACTOR - 1) * sum(served) * CENT / 100
    assert len(served) == outcomes.count("served") == (AFFORDABLE if max_tokens else 2)
    # All of them were in flight together: what they were allowed is within the limit, so only the excess is above it.
    assert settled == FACTOR * sum(served) * CENT / 100
    assert 0 < settled - LIMIT <= excess
    assert 0 < Decimal(overrun["excess_usd"]) <= excess
    assert (overrun["policy"], overrun["recipients"]) == ("shared", ["lead", "finance"])
    assert set(late) == {"insufficient_quota"}


def test_one_call_near_the_limit_is_cut_and_not_refused_in_every_dialect(providers: Providers, tmp_path: Path) -> None:
    names = ["openai/exact", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash"]
    configuration = configured(NEARLY_USED, names)
    configuration["models"] = {name.partition("/")[0]: {"targets": [name]} for name in names}
    configuration["policies"][0]["each"] = "model"
    with run_gateway(tmp_path, configuration, providers) as gateway:
        openai_answer = gateway.openai("crowd").chat.completions.with_raw_response.create(model="openai", messages=ASK)
        claude = gateway.anthropic("crowd").messages.with_raw_response
        claude_answer = claude.create(model="anthropic", messages=ASK, max_tokens=64_000)
        gemini_answer = gateway.gemini("crowd").models.generate_content(model="gemini", contents=ASK[0]["content"])
        budgets = gateway.settle(calls=3)

    assert gemini_answer.sdk_http_response
    assert gemini_answer.candidates
    headers: list[Any] = [openai_answer.headers, claude_answer.headers, gemini_answer.sdk_http_response.headers]
    assert [each["x-spendgate-output-capped"] for each in headers] == ["80", "80", "80"]
    assert openai_answer.parse().choices[0].finish_reason == "length"
    assert claude_answer.parse().stop_reason == "max_tokens"
    assert gemini_answer.candidates[0].finish_reason == "MAX_TOKENS"
    received = {vendor: providers.requests(vendor)[-1].document for vendor in Vendor}
    assert received[Vendor.OPENAI]["max_completion_tokens"] == 80
    assert received[Vendor.ANTHROPIC]["max_tokens"] == 80
    assert received[Vendor.GEMINI]["generationConfig"]["maxOutputTokens"] == 80
    assert [Decimal(budget["settled_usd"]) for budget in budgets] == [NEARLY_USED] * 3


def test_a_thinking_budget_that_fills_its_bound_is_lowered_with_it(providers: Providers, tmp_path: Path) -> None:
    with run_gateway(tmp_path, configured(Decimal("0.20"), ["anthropic/claude-haiku-4-5"]), providers) as gateway:
        answer = gateway.anthropic("crowd").messages.with_raw_response.create(
            model="exact", messages=ASK, max_tokens=32_000, thinking={"type": "enabled", "budget_tokens": 31_999}
        )

    received = providers.requests(Vendor.ANTHROPIC)[-1].document
    cap = int(answer.headers["x-spendgate-output-capped"])
    assert 1_088 <= received["max_tokens"] == cap < 2_001
    assert received["thinking"] == {"type": "enabled", "budget_tokens": cap - 1}


def test_an_answer_that_was_not_cut_does_not_say_so(providers: Providers, tmp_path: Path) -> None:
    with run_gateway(tmp_path, configured(Decimal(100)), providers) as gateway:
        answer = gateway.openai("crowd").chat.completions.with_raw_response.create(model="exact", messages=ASK)

    assert "x-spendgate-output-capped" not in answer.headers


def test_what_the_attempts_of_one_call_may_take_together_is_reserved(providers: Providers, tmp_path: Path) -> None:
    targets = ["openai/first", "openai/second", "openai/third"]
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, model="first"), Fault(FaultKind.STATUS, model="second"))
    providers.fault(Vendor.OPENAI, Fault(FaultKind.SLOW_FIRST_BYTE, model="third", delay_ms=3_000))
    with run_gateway(tmp_path, configured(10 * CENT, targets), providers) as gateway, ThreadPoolExecutor(1) as caller:
        call = caller.submit(gateway.openai("crowd").chat.completions.create, model="exact", messages=ASK)
        while len(providers.requests(Vendor.OPENAI)) < len(targets):
            time.sleep(0.01)
        reserved = Decimal(gateway.budget("shared")["reserved_usd"])
        call.result()

    attempts = [received.document for received in providers.requests(Vendor.OPENAI)]
    assert [attempt["model"] for attempt in attempts] == ["first", "second", "third"]
    may_take = sum(cap_of(attempt) for attempt in attempts) * CENT / 100
    assert 0 < may_take <= reserved <= 10 * CENT


def cap_of(body: Any) -> int:
    return int(body.get("max_completion_tokens") or body["max_tokens"])


async def crowd(gateway: Gateway, clients: int = CLIENTS, **options: Any) -> list[str]:
    """All at once. The SDK itself honours `retry-after-ms`, at most 11 tries in all."""
    async with openai.AsyncOpenAI(
        api_key=gateway.secret("crowd"), base_url=f"{gateway.url}/v1", max_retries=10, timeout=120
    ) as client:
        return list(await asyncio.gather(*(one_of_them(client, **options) for _ in range(clients))))


async def one_of_them(client: openai.AsyncOpenAI, **options: Any) -> str:
    try:
        done = await client.chat.completions.create(model="exact", messages=ASK, **options)
    except openai.RateLimitError as refused:
        return "gave up" if refused.code == "rate_limit_exceeded" else str(refused.code)
    assert done.usage is not None
    return "served" if done.choices[0].finish_reason == "stop" else "cut"
