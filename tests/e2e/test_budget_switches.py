"""A used budget leads an unchanged program to a cheaper model and back, alone and with health. A drain at speed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ERRORS = {"error_rate": "20%", "over": "10s"}
DEAR, CHEAP = Decimal(15), Decimal(5)
TOKENS = 1_000
WITHIN_S = 10.0


def route(first: str, when: Any) -> dict[str, Any]:
    return {"targets": [first], "fallbacks": [{"to": ["openai/haiku"], "when": when}]}


CONFIGURATION = {
    "models": {
        "sonnet": route("openai/sonnet", {"budget_used": "75%"}),
        "either": route("openai/either", {"any": [{"budget_used": "75%"}, ERRORS]}),
        "both": route("openai/both", {"all": [{"budget_used": "75%"}, ERRORS]}),
        "selected": route("openai/sonnet", {"team": "spent"}),
        "drained": {"targets": ["openai/drained"], "fallbacks": [{"to": ["openai/haiku"]}]},
    },
    "prices": {
        **{f"openai/{name}": {"input": 0, "output": int(DEAR)} for name in ("sonnet", "either", "both", "drained")},
        "openai/haiku": {"input": 0, "output": int(CHEAP)},
    },
    "teams": {"ds": {}, "spent": {}, "fast": {}},
    "policies": [
        {"name": "ds", "match": {"team": "ds"}, "limits": [{"spend": 0.20, "per": "month"}]},
        {"name": "spent", "match": {"team": "spent"}, "limits": [{"spend": 0.40, "per": "month"}]},
        {"name": "fast", "match": {"team": "fast"}, "limits": [{"spend": 1000, "per": "month"}]},
    ],
    "keys": [{"name": team, "team": team} for team in ("ds", "spent", "fast")],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("switches"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(autouse=True)
def _calm(providers: Providers) -> None:
    """Each test starts with providers that behave."""


@dataclass
class Program:
    """A program that always sends the same request, and looks at what came."""

    gateway: Gateway
    key: str
    model: str
    tokens: int = TOKENS

    def call(self) -> tuple[str, str]:
        """Who served, and why another than the first led. Waits until the call is settled."""
        headers = self.quickly()
        self.gateway.settle()
        return headers

    def quickly(self) -> tuple[str, str]:
        """The same without waiting."""
        ask: Any = [{"role": "user", "content": f"Answer in {self.tokens} tokens."}]
        raw = self.gateway.openai(self.key).chat.completions.with_raw_response.create(
            model=self.model, messages=ask, max_tokens=self.tokens
        )
        return str(raw.headers["x-spendgate-model-served"]), str(raw.headers.get("x-spendgate-downgraded", ""))

    def wait_for(self, answer: tuple[str, str], within_s: float = WITHIN_S) -> None:
        """Calls until an answer is like this."""
        deadline = time.monotonic() + within_s
        while (found := self.quickly()) != answer:
            assert time.monotonic() < deadline, f"{found}, not {answer}"


def _settled(gateway: Gateway, policy: str) -> Decimal:
    return Decimal(gateway.budget(policy)["settled_usd"])


def test_at_three_quarters_the_slope_of_spend_falls_by_the_ratio_of_prices_and_a_raised_limit_brings_the_model_back(
    gateway: Gateway,
) -> None:
    program = Program(gateway, "ds", "sonnet")
    slopes: list[tuple[str, str, Decimal]] = []
    while not slopes or slopes[-1][1] != "budget":
        before = _settled(gateway, "ds")
        served, reason = program.call()
        slopes.append((served, reason, _settled(gateway, "ds") - before))
        assert len(slopes) < 30
        # The tier follows what was settled before the call, and nothing else.
        assert (reason == "budget") == (before >= Decimal("0.15"))
    assert {(served, slope) for served, _, slope in slopes[:-1]} == {("openai/sonnet", slopes[0][2])}
    served, _, cheap = slopes[-1]
    assert served == "openai/haiku"
    assert slopes[0][2] == cheap * DEAR / CHEAP > 0
    call = gateway.calls(1)[0]
    assert (call["model_requested"], call["model_served"], call["downgraded"]) == ("sonnet", "openai/haiku", "budget")

    override = gateway.json("overrides", "grant", "ds", "--usd", "0.40", "--until", "1d", "--reason", "a launch")
    assert program.call() == ("openai/sonnet", "")
    _eventually(lambda: len(_heard(gateway)) == 2)
    gateway.run("overrides", "revoke", override["name"], "--reason", "it is over")
    assert program.call() == ("openai/haiku", "budget")

    # People hear of each way once.
    _eventually(lambda: len(_heard(gateway)) == 3)
    left = ("left", "budget", ["openai/sonnet"], ["openai/haiku"])
    assert _heard(gateway) == [left, ("returned", "budget", ["openai/haiku"], ["openai/sonnet"]), left]


def _heard(gateway: Gateway) -> list[tuple[str, str, list[str], list[str]]]:
    """The switches of the model, oldest first."""
    alerts = [each for each in gateway.json("alerts", "list")["alerts"] if each.get("model") == "sonnet"]
    return [(each["direction"], each["reason"], each["previous"], each["leads"]) for each in reversed(alerts)]


def test_any_and_all_see_a_used_budget_and_attempts_alike(gateway: Gateway, providers: Providers) -> None:
    spender = Program(gateway, "spent", "sonnet", tokens=8_000)
    while _settled(gateway, "spent") < Decimal("0.30"):
        spender.call()
    either, both = (Program(gateway, "spent", model, tokens=5) for model in ("either", "both"))
    rich_either, rich_both = (Program(gateway, "fast", model, tokens=5) for model in ("either", "both"))

    # The budget alone is enough for `any`, and not for `all`. Another budget has nothing to do with it.
    assert either.quickly() == ("openai/haiku", "budget")
    assert rich_either.quickly() == ("openai/either", "")
    assert both.quickly() == ("openai/both", "")

    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500, times=None, model="both"))
    both.wait_for(("openai/haiku", "errors"))
    # Below 75 %, each call still tries the failing target first, and is then served.
    assert rich_both.quickly() == ("openai/haiku", "")
    providers.by_vendor[Vendor.OPENAI].faults.clear()
    both.wait_for(("openai/both", ""), within_s=30)
    assert rich_both.quickly() == ("openai/both", "")


def test_a_model_of_one_team_is_no_downgrade_and_the_others_keep_theirs(gateway: Gateway) -> None:
    assert Program(gateway, "spent", "selected", tokens=5).quickly() == ("openai/haiku", "")
    assert Program(gateway, "fast", "selected", tokens=5).quickly() == ("openai/sonnet", "")
    told = gateway.json("explain", "--key", "spent", "--model", "selected")
    assert (told["decision"], told["target"]) == ("allow", "openai/haiku")


PER_SECOND = 200
SECONDS = 6


@dataclass
class Paced:
    """Answers to calls that begin at a fixed rate, whether or not the earlier ones have ended."""

    statuses: list[int] = field(default_factory=list)
    served: list[str] = field(default_factory=list)

    def run(self, gateway: Gateway, model: str) -> None:
        asyncio.run(self._run(gateway, model))

    async def _run(self, gateway: Gateway, model: str) -> None:
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
        headers = {"authorization": f"Bearer {gateway.secret('fast')}"}
        ask = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "Answer in 5 tokens."}]}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, limits=limits, timeout=60) as client:

            async def call() -> None:
                response = await client.post("/v1/chat/completions", json=ask)
                self.statuses.append(response.status_code)
                self.served.append(response.headers.get("x-spendgate-model-served", ""))

            start = time.monotonic()
            async with asyncio.TaskGroup() as calls:
                for number in range(PER_SECOND * SECONDS):
                    await asyncio.sleep(start + number / PER_SECOND - time.monotonic())
                    calls.create_task(call())


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_target_is_drained_and_let_in_again_at_two_hundred_requests_a_second_without_a_failed_request(
    gateway: Gateway,
) -> None:
    """The calls begin at that rate. How fast they end is up to the machine."""
    paced = Paced()
    caller = threading.Thread(target=paced.run, args=(gateway, "drained"))
    caller.start()
    _eventually(lambda: len(paced.served) > PER_SECOND // 4)
    gateway.json("routes", "drain", "openai/drained")
    _eventually(lambda: paced.served[-20:] == ["openai/haiku"] * 20)
    gateway.json("routes", "undrain", "openai/drained")
    caller.join()
    assert set(paced.statuses) == {200}
    assert len(paced.statuses) == PER_SECOND * SECONDS
    assert set(paced.served) == {"openai/drained", "openai/haiku"}
    assert paced.served[0] == paced.served[-1] == "openai/drained"
