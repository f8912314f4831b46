"""Real calls, replayed through a tighter file than the one that let them pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

ASK: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
CENT = Decimal("0.01")
# $100 per million output tokens: 100 tokens are one cent. Input is free.
CONFIGURATION: dict[str, Any] = {
    "models": {
        "exact": {"targets": ["openai/exact"]},
        "tiered": {
            "targets": ["openai/exact"],
            "fallbacks": [{"to": ["openai/cheap"], "when": {"budget_used": "75%"}}],
        },
    },
    "prices": {"openai/exact": {"input": 0, "output": 100}, "openai/cheap": {"input": 0, "output": 10}},
    "policies": [
        {"name": "roomy", "limits": [{"spend": 10, "per": "lifetime"}, {"requests": 60, "per": "minute"}]},
        {"name": "loop", "match": {"key": "steady"}, "limits": [{"spend": 1, "per": "run"}]},
    ],
    "teams": {"research": {}, "web": {}},
    "keys": [{"name": "steady", "team": "research"}, {"name": "bursty", "team": "web"}],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("simulate"), CONFIGURATION, vendors) as running:
        for number in range(10):
            call(running, "steady", "tiered", run="first" if number < 5 else "second")
        for _ in range(5):
            call(running, "bursty", "exact")
        running.settle(15)
        yield running


def call(gateway: Gateway, key: str, model: str, run: str = "") -> None:
    headers = {"x-spendgate-run": run} if run else {}
    gateway.openai(key).chat.completions.create(model=model, messages=ASK, max_tokens=100, extra_headers=headers)


def proposal(folder: Path, *policies: dict[str, Any]) -> str:
    """A file with these policies."""
    file = folder / "proposed.yaml"
    file.write_text(json.dumps({"version": 1, "organization": "acme", "policies": policies}))
    return str(file)


def test_a_tighter_file_says_whom_it_would_have_stopped_and_what_it_saves(gateway: Gateway, tmp_path: Path) -> None:
    file = proposal(
        tmp_path,
        {"name": "steady", "match": {"key": "steady"}, "limits": [{"spend": 0.08, "per": "lifetime"}]},
        {"name": "bursty", "match": {"key": "bursty"}, "limits": [{"requests": 2, "per": "lifetime"}]},
    )
    before = gateway.budgets()

    found = gateway.json("simulate", "-f", file, "--since", "1h")

    # Six of ten calls are 75 % of eight cents; the other four cost a tenth. Two of five are let through.
    assert [found[name] for name in ("calls", "allowed", "degraded", "denied", "unpriced")] == [15, 8, 4, 3, 0]
    assert Decimal(found["real_cost_usd"]) == Decimal(gateway.usage()["total"]["cost_usd"]) == 15 * CENT
    assert Decimal(found["simulated_cost_usd"]) == 6 * CENT + 4 * CENT / 10 + 2 * CENT
    assert Decimal(found["saved_usd"]) == 4 * CENT * 9 / 10 + 3 * CENT
    times = [each["time"] for each in reversed(gateway.calls()) if each["key"] == "steady"]
    by_policy = {each["policy"]: each for each in found["policies"]}
    steady, bursty = by_policy["steady"], by_policy["bursty"]
    assert (steady["degraded"], steady["denied"], steady["first_denied_at"]) == (4, 0, None)
    assert (bursty["degraded"], bursty["denied"], bursty["peak_used_ratio"]) == (0, 3, 1.0)
    assert times[6] <= steady["first_degraded_at"] < times[7]
    assert [(each["team"], each["key"], each["degraded"], each["denied"]) for each in found["keys"]] == [
        ("research", "steady", 4, 0),
        ("web", "bursty", 0, 3),
    ]
    assert gateway.budgets() == before


def test_the_policies_that_were_in_force_would_have_stopped_nobody(gateway: Gateway, tmp_path: Path) -> None:
    found = gateway.json("simulate", "-f", proposal(tmp_path, *CONFIGURATION["policies"]))

    assert (found["calls"], found["allowed"], found["keys"], found["saved_usd"]) == (15, 15, [], "0.000000000")


def test_each_run_is_replayed_as_a_run(gateway: Gateway, tmp_path: Path) -> None:
    found = gateway.json(
        "simulate", "-f", proposal(tmp_path, {"name": "run", "limits": [{"requests": 4, "per": "run"}]})
    )

    # The fourth call of a run finds three quarters of its limit used, the fifth all of it.
    assert (found["allowed"], found["degraded"], found["denied"]) == (11, 2, 2)


def test_people_get_a_table_and_an_empty_time_says_so(gateway: Gateway, tmp_path: Path) -> None:
    file = proposal(tmp_path, {"name": "four", "limits": [{"requests": 4, "per": "lifetime"}]})

    shown = gateway.run("simulate", "-f", file, "--since", "1h")
    empty = gateway.run("simulate", "-f", file, "--since", "2020-01-01T00:00:00Z", "--until", "2020-02-01T00:00:00Z")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "3 allowed, 1 degraded, 11 denied" in shown.stdout
    assert "They cost $0.15, would have cost $0.031, saved $0.119." in shown.stdout
    assert (empty.returncode, empty.stdout[:14]) == (0, "No calls from ")


def test_mistakes_of_the_file_are_reported_before_anything_is_replayed(gateway: Gateway, tmp_path: Path) -> None:
    file = proposal(tmp_path, {"name": "odd", "limits": [{"spned": 4, "per": "month"}]})

    refused = gateway.run("simulate", "-f", file)

    assert refused.returncode == 2
    assert "spned" in refused.stderr
