"""No policy is silently without effect: each says whether calls can reach it, and how many did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

_LIMITS = [{"spend": 100, "per": "month"}]
CONFIGURATION = {
    "models": {"gpt": {"targets": ["openai/gpt"]}},
    "prices": {"openai/gpt": {"input": 1, "output": 1}},
    "teams": {"blue": {}, "empty": {}},
    "policies": [
        {"name": "team", "match": {"team": "blue"}, "limits": _LIMITS},
        {
            "name": "looser",
            "match": {"team": "blue", "environment": "prod"},
            "limits": [{"spend": 101, "per": "month"}],
        },
        {"name": "nobody", "match": {"team": "empty"}, "limits": _LIMITS},
        {"name": "watch", "limits": _LIMITS, "mode": "shadow"},
        {"name": "off", "limits": _LIMITS, "mode": "disabled"},
    ],
    "keys": [{"name": "prod", "team": "blue", "environment": "prod"}, {"name": "dev", "team": "blue"}],
}
ASK: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("worth"), CONFIGURATION, vendors) as running:
        yield running


def test_at29_every_policy_has_a_status_and_tells_how_many_calls_matched_it(gateway: Gateway) -> None:
    before = {each["policy"]: each for each in gateway.json("policies")["policies"]}
    for key in ("prod", "prod", "dev"):
        gateway.openai(key).chat.completions.create(model="gpt", messages=ASK, max_tokens=5)

    after = {each["policy"]: each for each in gateway.json("policies")["policies"]}
    assert {name: each["status"] for name, each in after.items() if name in {"team", "nobody", "watch", "off"}} == {
        "team": "active",
        "nobody": "unreachable",
        "watch": "shadow",
        "off": "disabled",
    }
    counted = {name: each["matched_calls"] - before[name]["matched_calls"] for name, each in after.items()}
    assert counted | {"team": 3, "looser": 2, "nobody": 0, "watch": 3, "off": 0} == counted
    assert after["team"]["last_matched_time"].endswith("Z")
    assert after["nobody"]["last_matched_time"] is None


def test_at29_explain_says_why_the_other_policies_do_not_apply_to_a_call(gateway: Gateway) -> None:
    explained = gateway.json("explain", "--key", "dev", "--model", "gpt")
    assert {each["policy"] for each in explained["policies"]} == {"team", "watch"}
    reasons = {each["policy"]: each["reason"] for each in explained["others"]}
    assert reasons["looser"] == "it is for environment prod, and the call has no environment"
    assert reasons["nobody"] == "it is for team empty, and the call has team blue"
    assert reasons["off"] == "it is disabled"
    assert set(reasons) == {"looser", "nobody", "off", "default-dev", "default-staging", "default-prod"}


def test_at29_what_matches_nothing_or_cannot_bite_is_warned_of(gateway: Gateway) -> None:
    output = gateway.output.read_text()
    assert "Policy nobody matches no virtual key" in output
    assert "Policy looser can never reach its limit of spend per month: policy team counts" in output
    # And of no other.
    assert (output.count("matches no virtual key"), output.count("can never reach")) == (1, 1)
