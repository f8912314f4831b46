"""The holder of a key reads its own budget with the key itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {"gpt": {"targets": ["openai/gpt"]}},
    "prices": {"openai/gpt": {"input": 0, "output": 100}},
    "policies": [
        {
            "name": "team",
            "match": {"team": "blue"},
            "limits": [{"spend": 0.02, "per": "month"}, {"requests": 100, "per": "day"}],
        },
        {"name": "every-user", "each": "user", "limits": [{"tokens": 1_000_000, "per": "week"}]},
    ],
    "teams": {"blue": {"members": ["ada@example.com", "bob@example.com"]}},
    "keys": [
        {"name": "mine", "team": "blue", "user": "ada@example.com"},
        {"name": "other", "team": "blue", "user": "bob@example.com"},
        {"name": "late", "team": "blue", "expires": "2020-01-01"},
    ],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("own"), CONFIGURATION, vendors) as running:
        yield running


def test_a_key_reads_the_limits_that_bind_it_and_they_are_those_of_the_admin_api(
    gateway: Gateway, providers: Providers
) -> None:
    ask: Any = [{"role": "user", "content": "Answer in 100 tokens."}]
    for key in ("mine", "other"):
        gateway.openai(key).chat.completions.create(model="gpt", messages=ask, max_tokens=100)
    gateway.settle()
    sent = sum(len(providers.requests(vendor)) for vendor in Vendor)

    answer = gateway.http("mine").get("/v1/budget")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    told = answer.json()["budgets"]
    assert [(each["policy"], each["limit_kind"], each["window"]) for each in told] == [
        ("team", "spend", "month"),
        ("team", "requests", "day"),
        ("every-user", "tokens", "week"),
    ]
    assert (told[0]["limit_usd"], told[0]["used_usd"], told[0]["remaining_usd"]) == (
        "0.020000000",
        "0.020000000",
        "0.000000000",
    )
    assert told[2]["scope"] == "user=ada@example.com"
    assert "bob" not in answer.text
    assert "other" not in answer.text
    listed = {(each["policy"], each["limit_kind"], each["scope"]): each for each in gateway.budgets()}
    for each in told:
        counter = listed[each["policy"], each["limit_kind"], each["scope"]]
        for name in ("limit", "remaining", "reserved", "resets_at", "window_start"):
            key = next(key for key in (name, f"{name}_usd") if key in each)
            assert each[key] == counter[key]
    # It was free of charge: nothing was reserved, counted or sent anywhere.
    assert gateway.http("mine").get("/v1/budget?as=often").json()["budgets"] == told
    assert sum(len(providers.requests(vendor)) for vendor in Vendor) == sent


@pytest.mark.parametrize(
    ("headers", "at"),
    [
        ({}, lambda body: body["error"]["code"]),
        ({"anthropic-version": "2023-06-01"}, lambda body: body["error"]["details"]["error_code"]),
    ],
)
@pytest.mark.parametrize(("key", "code"), [("late", "expired_api_key"), ("wrong-key-wrong-key", "invalid_api_key")])
def test_a_key_that_does_not_work_is_a_401_in_the_dialect_of_the_client(
    gateway: Gateway, key: str, code: str, headers: dict[str, str], at: Any
) -> None:
    answer = gateway.http(key).get("/v1/budget", headers=headers)
    assert answer.status_code == 401
    assert at(answer.json()) == code


@pytest.mark.parametrize("path", ["/v1/budget/", "/v1/budget/mine", "/v1/budgets", "//v1/budget"])
def test_no_other_path_is_a_budget(gateway: Gateway, path: str) -> None:
    assert gateway.http("mine").get(path).status_code == 404
    assert gateway.http("mine").post("/v1/budget", json={}).status_code == 404
