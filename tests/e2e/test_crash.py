"""kill -9 of each process under load: the service is back by itself, and in the end every dollar is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

from services.simulator.faults import Latency
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.up_process import start_up, wait_gone

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CONFIGURATION = {
    "models": {"chat": {"targets": ["openai/gpt-4o"], "fallbacks": [{"to": ["anthropic/claude-haiku-4-5"]}]}},
    "teams": {"red": {}, "blue": {}},
    "policies": [
        {"name": "red", "match": {"team": "red"}, "limits": [{"spend": 1000, "per": "month"}]},
        {"name": "blue", "match": {"team": "blue"}, "limits": [{"spend": 1000, "per": "month"}]},
        {
            "name": "everybody",
            "limits": [
                {"spend": 1000, "per": "month"},
                {"requests": 1_000_000, "per": "month"},
                {"input_tokens": 1_000_000_000, "per": "month"},
                {"output_tokens": 1_000_000_000, "per": "month"},
            ],
        },
    ],
    "keys": [{"name": "red", "team": "red"}, {"name": "blue", "team": "blue"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 60 tokens."}]
# So that some calls wait for their first byte and some are amid their stream whenever the kill comes.
LATENCY = Latency(first_byte_p50_ms=40, first_byte_p95_ms=120, event_ms=5)
CLIENTS = 6
BEFORE_S, AFTER_S = 1.5, 4.0
# Longer than Envoy waits for a Check.
HANG_S = 0.8
BACK_TIMEOUT_S = 20.0
# A reservation whose Envoy is gone ends when the ledger has booked all that Envoy wrote.
SETTLE_TIMEOUT_S = 60.0


@dataclass
class Load:
    """The results of the calls."""

    served: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Answers that the gateway gave itself, by their code."""
    broken: int = 0
    """Calls whose connection broke, before or amid the answer."""


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("crash"), CONFIGURATION, vendors) as running:
        yield running


@pytest.mark.parametrize("name", ["quota", "router", "ledger", "envoy"])
def test_a_killed_process_comes_back_and_the_books_balance(gateway: Gateway, name: str, providers: Providers) -> None:
    providers.by_vendor[Vendor.OPENAI].latency = LATENCY
    gateway.settle()
    before = _by_source(gateway)
    victim = gateway.pids()[name]
    with _load(gateway) as load:
        time.sleep(BEFORE_S)
        assert load.served
        os.kill(victim, signal.SIGKILL)
        time.sleep(AFTER_S)
    _await_service(gateway, load)
    assert gateway.pids()[name] != victim
    gateway.settle(timeout_s=SETTLE_TIMEOUT_S)
    booked = _by_source(gateway) - before
    if name == "envoy":
        # Each call that was in flight is booked at what was expected of it; it may not even have been admitted.
        assert load.served <= booked.total() <= load.served + load.broken
        assert 0 < booked["estimated"] <= booked.total()
        assert not load.refused
    else:
        # Connections outlive every service. Only without quota is there no admission, and no record of one.
        assert not load.broken
        assert set(load.refused) <= ({"policy_unavailable"} if name == "quota" else set())
        assert booked == Counter(provider=load.served)
    _assert_balanced(gateway)


def test_a_quota_that_hangs_under_load_keeps_nothing_reserved(gateway: Gateway, providers: Providers) -> None:
    """Envoy gives Checks up that quota answers afterwards: what those reserved is released, and nobody is charged."""
    providers.by_vendor[Vendor.OPENAI].latency = LATENCY
    gateway.settle()
    before = _by_source(gateway)
    quota = gateway.pids()["quota"]
    with _load(gateway) as load:
        for _ in range(4):
            time.sleep(HANG_S)
            os.kill(quota, signal.SIGSTOP)
            time.sleep(HANG_S)
            os.kill(quota, signal.SIGCONT)
    assert load.refused["policy_unavailable"] >= 4
    assert not load.broken
    gateway.settle(timeout_s=SETTLE_TIMEOUT_S)
    assert _by_source(gateway) - before == Counter(provider=load.served)
    _assert_balanced(gateway)


def test_a_gateway_that_is_killed_whole_and_started_again_has_lost_nothing(
    tmp_path: Path, providers: Providers
) -> None:
    providers.by_vendor[Vendor.OPENAI].latency = LATENCY
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        children = list(gateway.pids().values())
        with _load(gateway) as load:
            time.sleep(BEFORE_S)
            gateway.process.kill()
            gateway.process.wait()
            assert wait_gone(children, 10) == []
    with start_up(tmp_path, data_dir=gateway.data_dir, environment=providers.environment) as up:
        up.wait_ready()
        again = Gateway(f"http://{up.listen}", up.admin, gateway.data_dir, gateway.process, up.err, gateway.key_secrets)
        _await_service(again, load)
        again.settle(timeout_s=SETTLE_TIMEOUT_S)
        booked = _by_source(again)
        assert load.served <= booked.total() <= load.served + load.broken
        assert booked["estimated"]
        _assert_balanced(again)
        assert up.end() == 0


@contextlib.contextmanager
def _load(gateway: Gateway) -> Iterator[Load]:
    """Six clients that call as fast as they can, half of them streaming, until the block ends."""
    stopping = threading.Event()
    loads = [Load() for _ in range(CLIENTS)]
    whole = Load()

    def call_on(client: openai.OpenAI, load: Load, *, stream: bool) -> None:
        while not stopping.is_set():
            _call(client, load, stream=stream)
            whole.served = sum(each.served for each in loads)

    threads = [
        threading.Thread(
            target=call_on,
            args=(gateway.openai(("red", "blue")[at % 2]), loads[at]),
            kwargs={"stream": at < CLIENTS / 2},
        )
        for at in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield whole
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=60)
        whole.served = sum(load.served for load in loads)
        whole.broken = sum(load.broken for load in loads)
        whole.refused = sum((load.refused for load in loads), Counter())


def _call(client: openai.OpenAI, load: Load, *, stream: bool) -> None:
    try:
        answer: Any = client.chat.completions.create(model="chat", messages=ASK, max_tokens=100, stream=stream)
        finished = (
            [chunk.choices[0].finish_reason for chunk in answer][-1] if stream else answer.choices[0].finish_reason
        )
    except openai.APIStatusError as error:
        load.refused[str(error.code)] += 1
        time.sleep(0.05)
    except openai.APIConnectionError:
        load.broken += 1
        time.sleep(0.05)
    else:
        assert finished in {"stop", "length"}
        load.served += 1


def _await_service(gateway: Gateway, load: Load) -> None:
    """Waits until ten calls in a row are served. They count, too."""
    deadline = time.monotonic() + BACK_TIMEOUT_S
    client = gateway.openai("red")
    row = 0
    while row < 10:
        served = load.served
        _call(client, load, stream=row % 2 == 0)
        row = row + 1 if load.served > served else 0
        assert row or time.monotonic() < deadline, "the service did not come back"


def _by_source(gateway: Gateway) -> Counter[str]:
    """The booked calls by where their usage is from."""
    calls = gateway.calls(limit=100_000)
    assert len({call["id"] for call in calls}) == len(calls)
    return Counter(call["usage_source"] for call in calls)


def _assert_balanced(gateway: Gateway) -> None:
    """In every policy and every unit, the counter is what the ledger has booked, to the last unit; nothing is open."""
    assert gateway.json("status")["quota"]["open_reservations"] == 0
    booked = {row["team"]: row for row in gateway.usage("team")["usage"]}
    total = gateway.usage("team")["total"]
    expected: dict[tuple[str, str], Any] = {(team, "spend"): booked[team]["cost_usd"] for team in ("red", "blue")}
    expected["everybody", "spend"] = total["cost_usd"]
    expected["everybody", "requests"] = total["calls"]
    expected |= {("everybody", kind): total[kind] for kind in ("input_tokens", "output_tokens")}
    budgets = gateway.budgets()
    found = {(each["policy"], each["limit_kind"]): each.get("settled_usd", each.get("settled")) for each in budgets}
    assert found == expected
    assert {str(each.get("reserved_usd", each.get("reserved"))) for each in budgets} <= {"0", "0.000000000"}
