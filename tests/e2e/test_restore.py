"""A gateway that lost its databases, restored by the commands of the operator's guide, word for word."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import CommandError, Gateway, Providers, amount, new_key_secret, run_gateway

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parents[2] / "docs" / "operator.md"
DIR = "/var/lib/spendgate"
# A machine without the program gets this in its place.
_SQLITE = f"""#!{sys.executable}
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute(sys.argv[2])
"""

# $100 per million output tokens: 100 tokens are one cent. Input is free.
CENT = Decimal("0.01")
CONFIGURATION: dict[str, Any] = {
    "models": {"exact": {"targets": ["openai/exact"]}, "slow": {"targets": ["openai/slow"]}},
    "prices": {each: {"input": 0, "output": 100} for each in ("openai/exact", "openai/slow")},
    "teams": {"ds": {}},
    "policies": [{"name": "team", "match": {"team": "ds"}, "limits": [{"spend": 10, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds", "secret": {"env": "KEY_APP"}}],
}
APP = new_key_secret()
# The shortest life of a call, so that the ledger soon knows that no record of it can come.
ENVIRONMENT = {"KEY_APP": APP, "SPENDGATE_DRIFT_CHECK_S": "1", "SPENDGATE_MAX_STREAM_S": "10"}


class Operator:
    """Somebody who follows the guide, in a folder of their own."""

    def __init__(self, folder: Path, vendors: Providers) -> None:
        self.data_dir = folder / "data"
        self._folder = folder
        self._vendors = vendors
        self._programs = folder / "programs"
        self._programs.mkdir()
        if shutil.which("sqlite3") is None:
            (self._programs / "sqlite3").write_text(_SQLITE)
            (self._programs / "sqlite3").chmod(0o700)

    @contextlib.contextmanager
    def gateway(self) -> Iterator[Gateway]:
        with run_gateway(self._folder, CONFIGURATION, self._vendors, environment=ENVIRONMENT) as running:
            yield running

    def follow(self, heading: str) -> None:
        """Runs the commands of a section of the guide."""
        _, _, section = GUIDE.read_text().partition(f"\n## {heading}\n")
        commands = "\n".join(re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL))
        assert DIR in commands
        path = f"{self._programs}:{os.environ['PATH']}"
        subprocess.run(
            ["/bin/sh", "-euc", commands.replace(DIR, str(self.data_dir))],
            cwd=self._folder,
            env={**os.environ, "PATH": path},
            check=True,
        )


@pytest.fixture
def operator(tmp_path: Path, providers: Providers) -> Operator:
    return Operator(tmp_path, providers)


def status(gateway: Gateway, secret: str, model: str = "exact") -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "Answer in 100 tokens."}], "max_tokens": 100}
    return gateway.http(secret).post("/v1/chat/completions", json=body).status_code


def eventually(holds: Callable[[], bool], gateway: Gateway, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while True:
        # A service that has just started may not answer yet.
        with contextlib.suppress(CommandError):
            if holds():
                return
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.1)


def spent(gateway: Gateway) -> Decimal:
    """The settled spend of the team, once nothing is reserved."""
    budget = gateway.budget("team")
    return Decimal(-1) if amount(budget, "reserved") else amount(budget, "settled")


@contextlib.contextmanager
def traffic(gateway: Gateway) -> Iterator[list[int]]:
    """Calls one after the other, in a thread, until the block ends. Yields their statuses."""
    made: list[int] = []
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            made.append(status(gateway, APP))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield made
    finally:
        enough.set()
        thread.join()


def kill(gateway: Gateway) -> None:
    """Ends everything with SIGKILL, so that the databases keep their logs, and waits until all processes are gone."""
    pids = gateway.pids().values()
    gateway.process.kill()
    gateway.process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_with_its_spool_a_restored_gateway_knows_every_call_and_the_keys_of_the_copy(operator: Operator) -> None:
    with operator.gateway() as gateway:
        made = gateway.json("keys", "create", "made", "--team", "ds")["secret"]
        turned = gateway.json("keys", "create", "turned", "--team", "ds")["secret"]
        with traffic(gateway) as during:
            eventually(lambda: len(during) > 5, gateway)
            operator.follow("Back it up")
            some = len(during)
            eventually(lambda: len(during) > some, gateway)
        later = gateway.json("keys", "create", "later", "--team", "ds")["secret"]
        assert [status(gateway, secret) for secret in (later, made, turned)] == [200, 200, 200]
        newer = gateway.json("keys", "rotate", "turned")["secret"]
        calls = len(during) + 3
        gateway.settle(calls)
        kill(gateway)

    for lost in (operator.data_dir / "db").glob("*.sqlite"):
        lost.unlink()
    (operator.data_dir / "pepper").unlink()
    operator.follow("Restore it")

    with operator.gateway() as gateway:
        gateway.settle(calls)
        eventually(lambda: spent(gateway) == calls * CENT, gateway)
        assert Decimal(gateway.usage()["total"]["cost_usd"]) == calls * CENT
        assert {each["reason"] for each in gateway.json("adjustments")["adjustments"]} == {"drift"}
        assert [status(gateway, secret) for secret in (APP, made, turned)] == [200, 200, 200]
        assert [status(gateway, secret) for secret in (later, newer)] == [401, 401]
        gateway.settle(calls + 3)
        eventually(lambda: spent(gateway) == (calls + 3) * CENT, gateway)


@pytest.mark.full
def test_on_a_new_machine_it_knows_the_calls_of_the_copy_and_books_those_that_were_in_flight(
    operator: Operator, providers: Providers
) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.SLOW_FIRST_BYTE, model="slow", delay_ms=4_000))
    with operator.gateway() as gateway:
        assert [status(gateway, APP) for _ in range(3)] == [200] * 3
        gateway.settle(3)
        running = threading.Thread(target=status, args=(gateway, APP, "slow"))
        running.start()
        eventually(lambda: bool(amount(gateway.budget("team"), "reserved")), gateway)
        operator.follow("Back it up")
        running.join()
        assert status(gateway, APP) == 200
        gateway.settle(5)
        kill(gateway)

    shutil.rmtree(operator.data_dir)
    operator.follow("Restore it")

    with operator.gateway() as gateway:
        assert amount(gateway.budget("team"), "settled") == 3 * CENT
        assert status(gateway, APP) == 200
        # The call that was in flight has no record any more.
        gateway.settle(5, timeout_s=120)
        assert sorted(each["usage_source"] for each in gateway.calls()) == ["estimated", *["provider"] * 4]
        eventually(lambda: spent(gateway) == Decimal(gateway.usage()["total"]["cost_usd"]), gateway)
        assert spent(gateway) >= 4 * CENT
        assert oct(operator.data_dir.stat().st_mode)[-3:] == "700"


def test_the_copies_are_whole_and_nobody_else_can_read_them(operator: Operator, tmp_path: Path) -> None:
    with operator.gateway() as gateway, traffic(gateway):
        operator.follow("Back it up")

    copies = sorted((tmp_path / "spendgate-copy").iterdir())
    assert [each.name for each in copies] == ["ledger.sqlite", "pepper", "quota.sqlite", "router.sqlite"]
    assert {oct(each.stat().st_mode)[-3:] for each in copies} == {"600"}
    for database in copies:
        if database.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
