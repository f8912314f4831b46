"""Unknown members in every dialect: if a policy lets them pass, they hold the most that they can cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

# Of the catalogue, which knows their context windows.
TARGETS = {
    Vendor.OPENAI: "openai/gpt-4o",
    Vendor.ANTHROPIC: "anthropic/claude-sonnet-4-5",
    Vendor.GEMINI: "gemini/gemini-2.5-flash",
}
CONFIGURATION = {
    "models": {vendor.value: {"targets": [target]} for vendor, target in TARGETS.items()},
    "policies": [
        {"name": "all", "limits": [{"spend": 1_000, "per": "month"}]},
        {
            "name": "careful",
            "match": {"environment": "prod"},
            "limits": [{"requests": 1_000, "per": "day"}],
            "unknown_members": "refuse",
        },
    ],
    "keys": [{"name": "careful", "environment": "prod"}, {"name": "easy", "environment": "dev"}],
}


@dataclass(frozen=True)
class Ask:
    """A call with an unknown member."""

    vendor: Vendor
    path: str
    body: Mapping[str, Any]
    unknown: str
    """As the gateway names it."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, gateway: Gateway, key: str) -> httpx.Response:
        headers = {"anthropic-version": "2023-06-01"} if self.vendor is Vendor.ANTHROPIC else {}
        return gateway.http(key).post(self.path, json=self.body, headers={**headers, **self.headers})


PLAIN = {"messages": [{"role": "user", "content": "Answer in 10 tokens."}], "max_tokens": 20}
PARTS = [{"text": "Answer in 10 tokens."}]
GEMINI = "/v1beta/models/gemini:generateContent"
ASKS = [
    Ask(Vendor.OPENAI, "/v1/chat/completions", {"model": "openai", **PLAIN, "frobnicate": True}, "frobnicate"),
    Ask(Vendor.ANTHROPIC, "/v1/messages", {"model": "anthropic", **PLAIN, "frobnicate": {"deep": 1}}, "frobnicate"),
    Ask(
        Vendor.ANTHROPIC,
        "/v1/messages",
        {"model": "anthropic", **PLAIN},
        "anthropic-beta=warp-2031-01-01",
        {"anthropic-beta": "warp-2031-01-01"},
    ),
    Ask(Vendor.GEMINI, GEMINI, {"contents": [{"role": "user", "parts": PARTS, "mood": 7}]}, "contents.mood"),
]
every_ask = pytest.mark.parametrize("ask", ASKS, ids=[f"{ask.vendor}-{ask.unknown}" for ask in ASKS])


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("unknown"), CONFIGURATION, vendors) as running:
        yield running


@every_ask
def test_a_policy_that_refuses_what_nobody_knows_names_it_and_no_provider_is_asked(
    gateway: Gateway, providers: Providers, ask: Ask
) -> None:
    answer = ask.send(gateway, "careful")

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert f"Policy careful refuses what the gateway does not know: {ask.unknown}. Remove it" in error["message"]
    match ask.vendor:
        case Vendor.OPENAI:
            assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_parameter")
            assert (error["param"], error["details"]["reason"]) == (ask.unknown, "unknown_member")
        case Vendor.ANTHROPIC:
            assert (error["type"], error["details"]["reason"]) == ("invalid_request_error", "unknown_member")
        case Vendor.GEMINI:
            assert (error["status"], error["code"]) == ("INVALID_ARGUMENT", 400)
    assert not any(providers.requests(vendor) for vendor in Vendor)


@every_ask
def test_elsewhere_the_call_passes_and_its_entry_names_what_nobody_knew(
    gateway: Gateway, providers: Providers, ask: Ask
) -> None:
    booked = len(gateway.calls())

    answer = ask.send(gateway, "easy")

    assert answer.status_code == 200, answer.text
    assert len(providers.requests(ask.vendor)) == 1
    gateway.settle(calls=booked + 1)
    call = gateway.calls()[0]
    assert (call["unknown_members"], call["price_options"]) == ([ask.unknown], [])
    shown = gateway.json("calls", "show", call["id"])
    assert shown["unknown_members"] == [ask.unknown]


def test_an_alert_tells_the_first_call_of_each_window_that_passed_unknown_in_part(
    gateway: Gateway, providers: Providers
) -> None:
    booked = len(gateway.calls())
    for ask in ASKS:
        assert ask.send(gateway, "easy").status_code == 200
    gateway.settle(calls=booked + len(ASKS))

    (told,) = gateway.json("alerts", "list")["alerts"]

    assert (told["kind"], told["policy"], told["limit"]) == ("unknown_members", "all", "spend per month")
    assert (told["key"], told["threshold"]) == ("easy", None)
    # The first of this gateway, made by whichever test came first.
    assert told["unknown_members"] == gateway.json("calls", "show", told["call"])["unknown_members"] != []


def test_what_changes_the_price_is_on_the_entry(gateway: Gateway, providers: Providers) -> None:
    booked = len(gateway.calls())
    body = {"model": "openai", **PLAIN, "prediction": {"type": "content", "content": "ten"}}

    answer = gateway.http("easy").post("/v1/chat/completions", json=body)

    assert answer.status_code == 200, answer.text
    gateway.settle(calls=booked + 1)
    call = gateway.calls()[0]
    assert [option.partition("=")[0] for option in call["price_options"]] == ["prediction"]
    assert call["unknown_members"] == []


def test_the_command_line_tells_which_policy_refuses(gateway: Gateway) -> None:
    listed = {policy["policy"]: policy["unknown_members"] for policy in gateway.json("policies")["policies"]}
    assert (listed["careful"], listed["all"]) == ("refuse", "hold")
    told = gateway.json("explain", "--key", "careful", "--model", "openai")["on_unknown_members"]
    assert told == "If the call has unknown members, policy careful refuses it."
