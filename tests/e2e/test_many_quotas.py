"""Several quotas that share their counters in a Redis: what users see when one of them, or the Redis, hangs or dies."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.load import ASK, CALLERS, load_on
from tests.worlds.redis_process import PASSWORD, RedisProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

QUOTAS = 3
CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "policies": [{"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
STEADY_S = 1.0
HANG_S = 2.0
BACK_WITHIN_S = 5.0
# Envoy's health check, twice, and what a busy machine adds.
NOTICED_WITHIN_S = 2.5
START_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, vendors: Providers, redis: RedisProcess) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("quotas")
    environment = {"SPENDGATE_COUNTERS": redis.url}
    arguments = ("--quota-replicas", str(QUOTAS))
    with run_gateway(folder, CONFIGURATION, vendors, environment=environment, arguments=arguments) as running:
        yield running


def await_admin(gateway: Gateway) -> None:
    """Waits for the first quota, which takes its time to start on a busy machine."""
    deadline = time.monotonic() + START_WITHIN_S
    while gateway.run("budgets").returncode:
        assert time.monotonic() < deadline, "the first quota is not back"


def assert_balanced(gateway: Gateway, served: int, before: Decimal) -> None:
    """Every call that was served is booked and settled, and none holds anything any more."""
    gateway.settle()
    total = gateway.usage()["total"]
    assert int(total["calls"]) == served
    assert Decimal(gateway.budget("everybody")["settled_usd"]) == Decimal(total["cost_usd"]) > before


def booked(gateway: Gateway) -> tuple[int, Decimal]:
    gateway.settle()
    total = gateway.usage()["total"]
    return int(total["calls"]), Decimal(total["cost_usd"])


def test_a_redis_that_hangs_under_load_is_a_quick_503_and_is_found_again_without_a_restart(
    gateway: Gateway, redis: RedisProcess, providers: Providers
) -> None:
    calls, cost = booked(gateway)
    with load_on(gateway) as load:
        time.sleep(STEADY_S)
        # A machine that is busy for 100 ms looks like a Redis that hangs: single refusals are possible at any time.
        assert load.statuses().most_common(1)[0][0] == 200
        redis.pause()
        paused = time.monotonic()
        try:
            time.sleep(HANG_S)
        finally:
            redis.resume()
            resumed = time.monotonic()
        back_s = load.wait_for(lambda answer: answer.status == 200, resumed, BACK_WITHIN_S)
        time.sleep(STEADY_S)
        settled_again = load.statuses(resumed + back_s + STEADY_S / 2)
    refused = [answer for answer in load.answers if answer.status != 200]
    waits = sorted(answer.took_s for answer in refused)
    assert {(answer.status, answer.code) for answer in refused} == {(503, "policy_unavailable")}
    assert all(answer.retry_after for answer in refused)
    assert len(refused) > CALLERS
    assert statistics.median(waits) < 0.05
    assert waits[-1] < 0.4
    assert not [answer for answer in load.answers if answer.status == 200 and paused + 0.5 < answer.at < resumed]
    assert settled_again.most_common(1)[0][0] == 200
    assert_balanced(gateway, calls + load.statuses()[200], cost)


def test_the_others_answer_while_one_quota_hangs(gateway: Gateway, providers: Providers) -> None:
    calls, cost = booked(gateway)
    hanging = gateway.pids()["quota-2"]
    with load_on(gateway) as load:
        time.sleep(STEADY_S)
        os.kill(hanging, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            time.sleep(NOTICED_WITHIN_S + STEADY_S)
            noticed = load.statuses(stopped + NOTICED_WITHIN_S)
        finally:
            os.kill(hanging, signal.SIGCONT)
        time.sleep(STEADY_S)
    assert set(noticed) == {200}
    assert {answer.code for answer in load.answers if answer.status != 200} <= {"policy_unavailable"}
    assert_balanced(gateway, calls + load.statuses()[200], cost)


@pytest.mark.parametrize("name", ["quota", "quota-3"])
def test_the_others_answer_while_one_quota_is_killed_and_comes_back(
    gateway: Gateway, providers: Providers, name: str
) -> None:
    calls, cost = booked(gateway)
    with load_on(gateway) as load:
        time.sleep(STEADY_S)
        killed_pid = gateway.pids()[name]
        os.kill(killed_pid, signal.SIGKILL)
        killed = time.monotonic()
        time.sleep(NOTICED_WITHIN_S + STEADY_S)
        later = load.statuses(killed + NOTICED_WITHIN_S)
    await_admin(gateway)
    assert gateway.pids()[name] != killed_pid
    assert set(later) == {200}
    assert {answer.code for answer in load.answers if answer.status != 200} <= {"policy_unavailable"}
    assert load.statuses()[503] < load.statuses()[200] / 10
    assert_balanced(gateway, calls + load.statuses()[200], cost)


def test_a_change_holds_in_every_quota_within_a_second(gateway: Gateway, providers: Providers) -> None:
    made = gateway.json("keys", "create", "fresh")
    secret = made["secret"]
    time.sleep(1)
    assert _asked(gateway, secret) == {200}

    gateway.json("keys", "disable", "fresh")
    time.sleep(1)
    assert _asked(gateway, secret) == {401}


def test_a_new_key_is_known_in_every_quota_as_soon_as_it_is_shown(gateway: Gateway, providers: Providers) -> None:
    for number in range(5):
        secret = gateway.json("keys", "create", f"at-once-{number}")["secret"]
        assert _asked(gateway, secret) == {200}


def _asked(gateway: Gateway, secret: str) -> set[int]:
    """The statuses of many calls at once, which reach every quota."""
    statuses: set[int] = set()

    def call() -> None:
        with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {secret}"}, timeout=30) as client:
            for _ in range(5):
                statuses.add(client.post("/v1/chat/completions", json=ASK).status_code)

    threads = [threading.Thread(target=call) for _ in range(4 * QUOTAS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_the_password_of_the_redis_is_known_to_the_quotas_alone_and_in_no_file(
    gateway: Gateway, providers: Providers
) -> None:
    knowing = set()
    pid = gateway.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        assert PASSWORD.encode() not in command
        if PASSWORD.encode() in Path(f"/proc/{child}/environ").read_bytes():
            knowing.add(command.rpartition(b"services.")[2].rstrip(b"\0"))
    assert knowing == {b"quota.main"}
    assert gateway.output.read_text().count(PASSWORD) == 0
    for path in gateway.data_dir.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path
