"""`spendgate up`: it starts, it heals, it stops, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from pathlib import Path

import httpx
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.up_process import is_running, start_up, wait_gone

pytestmark = pytest.mark.e2e

BRIEF = Path(__file__).parent.parent / "data" / "brief.yaml"
BRIEF_ENVIRONMENT = {
    "OPENAI_API_KEY": "unused-provider-key",
    "ANTHROPIC_API_KEY": "unused-provider-key",
    "DS_PROD_KEY": "imported-key-of-data-science",
}
CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "teams": {"ds": {}},
    "policies": [{"name": "ds", "match": {"team": "ds"}, "limits": [{"spend": 100, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds"}],
}


def test_it_prints_one_line_when_the_first_request_would_succeed(tmp_path: Path) -> None:
    with start_up(tmp_path, "-f", str(BRIEF), environment=BRIEF_ENVIRONMENT) as up:
        up.wait_ready()
        key = {"authorization": f"Bearer {BRIEF_ENVIRONMENT['DS_PROD_KEY']}"}
        answer = httpx.get(f"http://{up.listen}/v1/models", headers=key)
        assert (answer.status_code, {model["id"] for model in answer.json()["data"]}) == (
            200,
            {"gpt-4o", "gpt-4o-mini", "claude-sonnet-4"},
        )
        assert up.out.read_text() == f"ready http://{up.listen}\n"
        assert "DS_DEV_KEY is not set" in up.err.read_text()
        assert up.end() == 0
    assert up.out.read_text() == f"ready http://{up.listen}\n"


def test_everything_in_the_data_directory_is_private_and_the_token_is_never_printed(tmp_path: Path) -> None:
    with start_up(tmp_path) as up:
        up.wait_ready()
        httpx.get(f"http://{up.listen}/v1/models")
        assert up.end() == 0
    for path in (up.data_dir, *up.data_dir.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    token = (up.data_dir / "admin-token").read_text().strip()
    assert len(token) >= 32
    assert token not in up.out.read_text() + up.err.read_text()
    assert str(up.data_dir / "admin-token") in up.err.read_text()


# test_crash kills each of them under load.
@pytest.mark.full
@pytest.mark.parametrize("name", ["quota", "router", "ledger", "envoy"])
def test_a_part_that_is_killed_is_back_by_itself(tmp_path: Path, providers: Providers, name: str) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        client = gateway.http("app")
        before = gateway.pids()
        _kill(before[name])
        _wait_until_served(gateway, client, before, name)
        after = gateway.pids()
        assert {other: after[other] for other in after if other != name} == {
            other: before[other] for other in before if other != name
        }
        answer = gateway.openai("app").chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Answer in 20 tokens."}]
        )
        assert answer.usage is not None
        gateway.settle(calls=1)


def test_each_envoy_has_an_epoch_of_its_own(tmp_path: Path, providers: Providers) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        (first,) = gateway.json("status")["router"]["nodes"]
        _kill(gateway.pids()["envoy"])
        deadline = time.monotonic() + 20
        while (epochs := _epochs(gateway)) in ([], [first["epoch"]]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert epochs > [first["epoch"]]


def test_a_call_in_flight_finishes_and_is_booked_before_it_stops(tmp_path: Path, providers: Providers) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        providers.fault(Vendor.OPENAI, Fault(FaultKind.SLOW_FIRST_BYTE, delay_ms=2_000))
        answers: list[str] = []

        def call() -> None:
            answer = gateway.openai("app").chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": "Answer in 20 tokens."}]
            )
            answers.append(answer.choices[0].finish_reason)

        caller = threading.Thread(target=call)
        caller.start()
        while not providers.requests(Vendor.OPENAI):
            time.sleep(0.02)
        children = list(gateway.pids().values())
        gateway.process.send_signal(signal.SIGTERM)
        caller.join(timeout=30)
        assert answers == ["stop"]
        assert gateway.process.wait(timeout=45) == 0
        assert wait_gone(children, 0) == []
        data_dir = gateway.data_dir
    with start_up(tmp_path, data_dir=data_dir) as again:
        again.wait_ready()
        again_gateway = Gateway(f"http://{again.listen}", again.admin, data_dir, again.process, again.err, {})  # type: ignore[arg-type]
        (booked,) = again_gateway.calls()
        assert booked["status"] == 200
        (budget,) = again_gateway.budgets()
        assert (budget["settled_usd"], budget["reserved_usd"]) == (booked["cost_usd"], "0.000000000")
        assert again.end() == 0


def test_no_process_is_left_when_the_supervisor_is_killed_and_it_can_start_again(tmp_path: Path) -> None:
    with start_up(tmp_path) as up:
        up.wait_ready()
        children = up.children()
        assert len(children) == 4
        up.end(signal.SIGKILL)
        assert wait_gone(children, 5) == []
    with start_up(tmp_path, listen=up.listen, admin=up.admin) as again:
        again.wait_ready()
        assert again.end(signal.SIGINT) == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path, providers: Providers) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        providers.fault(Vendor.OPENAI, Fault(FaultKind.SLOW_FIRST_BYTE, delay_ms=8_000))
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Slowly."}]}
        caller = threading.Thread(target=_ignore_errors, args=(gateway, body))
        caller.start()
        while not providers.requests(Vendor.OPENAI):
            time.sleep(0.02)
        children = list(gateway.pids().values())
        gateway.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert gateway.process.poll() is None
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(timeout=3) == 1
        assert wait_gone(children, 3) == []
        caller.join(timeout=30)


def test_a_signal_during_the_start_ends_it_cleanly(tmp_path: Path) -> None:
    with start_up(tmp_path) as up:
        while not up.children():
            time.sleep(0.02)
        children = up.children()
        assert up.end() == 0
        assert up.out.read_text() == ""
        assert wait_gone(children, 0) == []


def _epochs(gateway: Gateway) -> list[str]:
    """Of the Envoys that are connected; empty while nothing answers."""
    done = gateway.run("status", "--json")
    return [node["epoch"] for node in json.loads(done.stdout)["router"]["nodes"]] if done.returncode == 0 else []


def _ignore_errors(gateway: Gateway, body: dict[str, object]) -> None:
    try:
        gateway.http("app").post("/v1/chat/completions", json=body)
    except httpx.HTTPError:
        return


def _kill(pid: int) -> None:
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


def _wait_until_served(gateway: Gateway, client: httpx.Client, before: dict[str, int], name: str) -> None:
    """Waits until the part has a new process and a request is answered again: 1 to 4 s on a machine that is idle."""
    deadline = time.monotonic() + 20
    while True:
        new = gateway.pids().get(name, before[name])
        try:
            served = client.get("/v1/models").status_code == 200
        except httpx.HTTPError:
            served = False
        if new != before[name] and served and _epochs(gateway):
            return
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.05)
