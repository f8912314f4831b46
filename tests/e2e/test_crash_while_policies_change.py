"""kill -9 of quota while policies change under calls: their holds survive it, and no limit lets more in.

Some kills come at once when the new policies are stored, while calls have yet to go over to them. The others come
by chance during the change: before it is stored, or when only the answer is missing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from spendgate.quota.v1 import quota_service_pb2

from services.cli import translate
from services.cli.configuration.loading import load_configuration
from services.cli.gateway import Gateway as AdminPlane
from services.cli.gateway_address import find_gateway
from services.cli.key_secrets import find_key_secrets
from tests.worlds.gateway import CommandError, Gateway, amount, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

# $100 per million output tokens: 100 tokens are one cent. Input is free.
CENT, TOKENS = Decimal("0.01"), 100
QUICK, SLOW = "Answer.", "Answer when you are told to."
BEFORE, IN_FLIGHT, ROOM = 5, 40, 3
LIMIT = (BEFORE + IN_FLIGHT + ROOM) * CENT
# The supervisor waits twice as long before each start, so that more kills would take very long.
KILLS, LANDED, LOOP_S = 5, 2, 20
# In all other steps the kill comes when the new policies are stored.
BY_CHANCE = (4, 6)


class PatientProvider(ThreadingHTTPServer):
    """Answers the slow calls when the test says so, and all others at once. Each takes `TOKENS` of output."""

    daemon_threads = True
    request_queue_size = 2 * IN_FLIGHT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.told = threading.Event()
        self.asked = list[str]()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PatientProvider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.asked.append(body)
        if SLOW in body:
            assert self.server.told.wait(120)
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}
        answer = json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def policies(step: int) -> list[dict[str, Any]]:
    """One policy with a new name in each step, one that is narrowed and widened, and one that comes and goes."""
    team = {"match": {"team": "ds"}, "limits": [{"spend": float(LIMIT), "per": "month"}]}
    wide: dict[str, Any] = {"name": "wide", "limits": [{"spend": 10, "per": "month"}]}
    found = [{"name": f"team-{step}", **team}, wide]
    if step % 2:
        wide["match"] = {"model": "exact"}
        found.append({"name": f"fresh-{step}", "match": {"team": "ds"}, "limits": [{"spend": 9, "per": "month"}]})
    return found


CONFIGURATION: dict[str, Any] = {
    "models": {"exact": {"targets": ["patient/exact"]}},
    "prices": {"patient/exact": {"input": 0, "output": 100}},
    "teams": {"ds": {}},
    "policies": policies(0),
    "keys": [{"name": "app", "team": "ds"}],
}


@pytest.fixture
def provider() -> Iterator[PatientProvider]:
    with PatientProvider() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.told.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def gateway(tmp_path: Path, provider: PatientProvider) -> Iterator[Gateway]:
    address = f"http://127.0.0.1:{provider.server_port}/v1"
    patient = {"protocol": "openai", "base_url": address, "api_key": "none"}
    environment = {"SPENDGATE_DRIFT_CHECK_S": "1"}
    with run_gateway(tmp_path, CONFIGURATION | {"providers": {"patient": patient}}, environment=environment) as running:
        yield running


def eventually(gateway: Gateway, holds: Callable[[], bool], within_s: float = 30) -> None:
    """Waits until it holds. It does not while quota is away."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except (CommandError, grpc.RpcError):
            pass
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.05)


def call(gateway: Gateway, text: str = QUICK) -> int:
    """The status of a call, repeated while quota is away."""
    body = {"model": "exact", "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
    with gateway.http("app", timeout=120) as client:
        while True:
            status = client.post("/v1/chat/completions", json=body).status_code
            if status != 503:
                return status
            time.sleep(0.1)


@contextmanager
def calls_in_flight(gateway: Gateway, provider: PatientProvider) -> Iterator[list[int]]:
    """Slow calls, each in a thread; they are answered at the end of the block. Yields the statuses so far."""
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(call(gateway, SLOW))) for _ in range(IN_FLIGHT)]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(provider.told.set)
        yield statuses


@dataclass
class Change:
    """A change sent to quota alone, and its result."""

    gateway: Gateway
    request: quota_service_pb2.ApplyConfigurationRequest
    sent: threading.Event = field(default_factory=threading.Event)
    answered: bool = False
    took_s: float = 0.0

    @classmethod
    def of(cls, gateway: Gateway, folder: Path, step: int) -> Change:
        document = json.loads((folder / "spendgate.yaml").read_text())
        file = folder / "changed.yaml"
        file.write_text(json.dumps({**document, "policies": policies(step)}))
        configuration = load_configuration(file)
        secrets = find_key_secrets(configuration, {"KEY_APP": gateway.secret("app")})
        return cls(gateway, translate.quota_request(configuration.file, secrets, validate_only=False))

    def send(self) -> None:
        """Sends it once; a quota that dies meanwhile does not answer."""
        with suppress(grpc.RpcError), AdminPlane(find_gateway(self.gateway.admin, self.gateway.data_dir, {})) as plane:
            # The connection is there before the clock starts.
            plane.quota.GetQuotaStatus(quota_service_pb2.GetQuotaStatusRequest())
            self.sent.set()
            began = time.monotonic()
            plane.quota.ApplyConfiguration(self.request)
            self.answered, self.took_s = True, time.monotonic() - began

    def send_until_answered(self) -> None:
        """Like an administrator after an error."""

        def is_answered() -> bool:
            self.send()
            return self.answered

        eventually(self.gateway, is_answered)


def held(gateway: Gateway) -> dict[str, Decimal]:
    """What each policy that is in force holds. One that was narrowed has an old counter, too, which holds nothing."""
    found = {each["policy"]: Decimal(0) for each in gateway.json("policies")["policies"]}
    for budget in gateway.budgets():
        if budget["policy"] in found:
            found[budget["policy"]] += amount(budget, "reserved")
    return {name: reserved for name, reserved in found.items() if not name.startswith("default")}


def is_held(gateway: Gateway, expected: dict[str, Decimal]) -> bool:
    return held(gateway) == expected


def kill_after(change: Change, wait: Callable[[], None]) -> bool:
    """Sends the change, and kills quota when the wait is over. Whether it had not answered yet; it may do so later."""
    victim = change.gateway.pids()["quota"]
    sending = threading.Thread(target=change.send)
    sending.start()
    assert change.sent.wait(30)
    wait()
    landed = not change.answered
    os.kill(victim, signal.SIGKILL)
    sending.join()
    return landed


def until_stored(gateway: Gateway, policy: str) -> None:
    """Waits for a policy in quota's own file: an answer of quota's would come too late."""
    file = gateway.data_dir / "db" / "quota.sqlite"
    deadline = time.monotonic() + 10
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        while not connection.execute("SELECT 1 FROM policies WHERE name = ?", (policy,)).fetchone():
            assert time.monotonic() < deadline


def in_force(step: int) -> dict[str, Decimal]:
    """The holds under a step's policies while only the slow calls are under way."""
    return {policy["name"]: IN_FLIGHT * CENT for policy in policies(step)}


@pytest.mark.full
def test_a_quota_that_is_killed_while_policies_change_loses_nothing_that_is_held_and_lets_nobody_past_a_limit(
    gateway: Gateway, tmp_path: Path, provider: PatientProvider
) -> None:
    for _ in range(BEFORE):
        assert call(gateway) == 200
    gateway.settle(BEFORE)
    quick: list[int] = []
    landed = 0
    chance = random.Random(7)
    with calls_in_flight(gateway, provider) as slow:
        eventually(gateway, partial(is_held, gateway, in_force(0)))
        first = Change.of(gateway, tmp_path, 1)
        first.send_until_answered()
        began, step = time.monotonic(), 1
        while step <= KILLS and time.monotonic() - began < LOOP_S:
            assert held(gateway) == in_force(step)
            step += 1
            change = Change.of(gateway, tmp_path, step)
            moment = partial(time.sleep, first.took_s * chance.random())
            landed += kill_after(
                change, moment if step in BY_CHANCE else partial(until_stored, gateway, f"team-{step}")
            )
            eventually(gateway, lambda: bool(held(gateway)))
            after = held(gateway)
            assert after in (in_force(step - 1), in_force(step)), (step, landed)
            change.send_until_answered()
            assert held(gateway) == in_force(step), landed
            assert amount(gateway.budget(f"team-{step}"), "settled") == (BEFORE + quick.count(200)) * CENT
            quick.append(call(gateway))
            eventually(gateway, partial(is_held, gateway, in_force(step)))
        assert slow == []
        assert landed >= LANDED
        quick.extend(call(gateway) for _ in range(ROOM))
    gateway.settle(BEFORE + IN_FLIGHT + ROOM)

    assert Counter(slow) == {200: IN_FLIGHT}
    assert Counter(quick)[200] == ROOM
    assert set(quick) == {200, 429}
    assert len(provider.asked) == BEFORE + IN_FLIGHT + ROOM
    team = gateway.budget(f"team-{step}")
    assert (amount(team, "settled"), amount(team, "reserved")) == (LIMIT, Decimal(0))
    assert [each for each in gateway.json("adjustments")["adjustments"] if each["reason"] == "drift"] == []
    assert gateway.json("status")["quota"]["open_reservations"] == 0
    assert gateway.status().drift_nano_usd == 0
