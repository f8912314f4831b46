"""Counters say what the ledger says: after somebody tampered with them, and from a policy's first minute on."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, Providers, amount, run_gateway

pytestmark = [pytest.mark.e2e]

ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
# $100 per million output tokens: 100 tokens are one cent. Input is free.
CENT = Decimal("0.01")
CONFIGURATION: dict[str, Any] = {
    "models": {"exact": {"targets": ["openai/exact"]}},
    "prices": {"openai/exact": {"input": 0, "output": 100}},
    "teams": {"ds": {"members": ["ada@example.com"]}},
    "policies": [{"name": "team", "match": {"team": "ds"}, "limits": [{"spend": 10, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds", "user": "ada@example.com"}],
}
EACH_USER = {
    "name": "each-user",
    "match": {"team": "ds"},
    "each": "user",
    "limits": [{"spend": 0.05, "per": "month"}, {"requests": 100, "per": "day"}],
}


def call(gateway: Gateway, times: int) -> None:
    for _ in range(times):
        gateway.openai("app").chat.completions.create(model="exact", messages=ASK, max_tokens=100)


def eventually(holds: Callable[[], bool], gateway: Gateway, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, gateway.logs()
        time.sleep(0.1)


def test_a_counter_that_was_tampered_with_is_repaired_and_everybody_can_see_it(
    tmp_path: Path, vendors: Providers
) -> None:
    often = {"SPENDGATE_DRIFT_CHECK_S": "1"}
    with run_gateway(tmp_path, CONFIGURATION, vendors, environment=often) as gateway:
        call(gateway, 3)
        gateway.settle(3)
        eventually(lambda: gateway.status().checked_counters == 1, gateway)
        assert gateway.json("adjustments") == {"adjustments": []}
        gateway.stop()
        file = sqlite3.connect(gateway.data_dir / "db" / "quota.sqlite")
        with file:
            file.execute("UPDATE counters SET settled = settled - 12345678 WHERE policy = 'team'")
        file.close()

    with run_gateway(tmp_path, CONFIGURATION, vendors) as gateway:
        eventually(lambda: gateway.status().repaired_counters == 1, gateway)

        assert gateway.status().drift_nano_usd == 12_345_678
        assert gateway.json("status")["ledger"]["drift_usd"] == "0.012345678"
        newest = gateway.json("adjustments")["adjustments"][0]
        assert (newest["policy"], newest["scope"], newest["reason"]) == ("team", "team=ds", "drift")
        assert Decimal(newest["settled_before_usd"]) == 3 * CENT - Decimal("0.012345678")
        assert Decimal(newest["settled_after_usd"]) == 3 * CENT
        assert amount(gateway.budget("team"), "settled") == 3 * CENT == Decimal(gateway.usage()["total"]["cost_usd"])


def test_a_policy_that_is_added_counts_what_its_window_held_before_it(tmp_path: Path, vendors: Providers) -> None:
    with run_gateway(tmp_path, CONFIGURATION, vendors) as gateway:
        call(gateway, 4)
        gateway.settle(4)
        document = json.loads((tmp_path / "spendgate.yaml").read_text())
        document["policies"].append(EACH_USER)
        changed = tmp_path / "changed.yaml"
        changed.write_text(json.dumps(document))

        began = time.monotonic()
        done = gateway.run("apply", "-f", str(changed), environment={"KEY_APP": gateway.secret("app")})
        assert done.returncode == 0, done.stderr

        def of_users() -> dict[str, Decimal]:
            counted = [budget for budget in gateway.budgets() if budget["policy"] == "each-user"]
            return {budget["limit_kind"]: amount(budget, "settled") for budget in counted}

        eventually(lambda: of_users() == {"spend": 4 * CENT, "requests": 4}, gateway)
        # At once, and not with the next comparison of the minute.
        assert time.monotonic() - began < 10
        listed = [each for each in gateway.json("adjustments")["adjustments"] if each["policy"] == "each-user"]
        assert {(each["scope"], each["reason"]) for each in listed} == {("team=ds,user=ada@example.com", "backfill")}
        assert len(listed) == 2
        assert gateway.status().drift_nano_usd == 0
        # One more call fits, but not two: spend from before the policy counts.
        call(gateway, 1)
        answer = gateway.http("app").post(
            "/v1/chat/completions", json={"model": "exact", "messages": ASK, "max_tokens": 100}
        )
        assert answer.status_code == 429
        assert "each-user" in answer.text
