"""`spendgate up` is told to stop while clients call without a pause: every call that was served is booked."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "policies": [{"name": "everybody", "limits": [{"spend": 1000, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
CALLERS = 8


class Caller(threading.Thread):
    """Calls over one connection for as long as the gateway takes connections."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self._url = gateway.url
        self._headers = {"authorization": f"Bearer {gateway.secret('app')}"}

    def run(self) -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Answer in 5 tokens."}]}
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=30) as client:
            while True:
                try:
                    self.outcomes[str(client.post("/v1/chat/completions", json=body).status_code)] += 1
                except httpx.ConnectError:
                    return
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    # Envoy closed its last connections before it read anything of this request. The client sees a
                    # reset if its bytes were there already, and an end if they were not. Nothing was reserved or
                    # booked for it: the comparison at the end would show it.
                    self.outcomes["closed"] += 1


def test_what_was_served_is_booked_and_settled_when_it_stops_under_load(tmp_path: Path, providers: Providers) -> None:
    with run_gateway(tmp_path, CONFIGURATION, providers) as gateway:
        callers = [Caller(gateway) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(3)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(timeout=45) == 0
        for caller in callers:
            caller.join(timeout=30)
    outcomes = sum((caller.outcomes for caller in callers), Counter())
    served = outcomes.pop("200")
    assert served > 50
    assert set(outcomes) <= {"closed"}
    assert outcomes["closed"] <= CALLERS
    entries, cost = _one_row(tmp_path, "ledger", "SELECT count(*), sum(cost_nano_usd) FROM entries")
    (settled,) = _one_row(tmp_path, "quota", "SELECT sum(settled) FROM counters")
    (still_open,) = _one_row(tmp_path, "quota", "SELECT count(*) FROM reservations")
    assert (entries, settled, still_open) == (served, cost, 0)


def _one_row(folder: Path, service: str, query: str) -> tuple[int, ...]:
    database = sqlite3.connect(folder / "data" / "db" / f"{service}.sqlite")
    try:
        row: tuple[int, ...] = database.execute(query).fetchone()
    finally:
        database.close()
    return row
