"""After a run full of successes, failures and denials, no key is anywhere but where it was given."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway
from tests.worlds.otlp_receiver import OtlpReceiver, otlp_receiver

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "chat": {"targets": ["openai/gpt-4o"], "fallbacks": [{"to": ["anthropic/claude-haiku-4-5"]}]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gemini": {"targets": ["gemini/gemini-2.5-flash"]},
    },
    "policies": [
        {"name": "all", "limits": [{"spend": 10, "per": "month"}]},
        {"name": "none", "match": {"key": "broke"}, "limits": [{"spend": 0, "per": "month"}]},
    ],
    "keys": [{"name": "app"}, {"name": "broke"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 20 tokens."}]
MISPLACED = "spg_live_pasted0into0the0wrong0place"


def test_no_key_is_found_anywhere(providers: Providers, tmp_path: Path) -> None:
    with (
        otlp_receiver() as receiver,
        run_gateway(tmp_path, CONFIGURATION, providers, arguments=("--otlp", receiver.address)) as gateway,
    ):
        created = gateway.json("keys", "create", "issued")
        rotated = gateway.json("keys", "rotate", "issued", "--grace", "600")
        token = gateway.json("tokens", "create", "cfo", "--role", "finance")
        secrets = [
            *gateway.key_secrets.values(),
            *(provider.api_key for provider in providers.by_vendor.values()),
            created["secret"],
            rotated["secret"],
            token["secret"],
            MISPLACED,
        ]
        _traffic(gateway, providers, created["secret"])
        gateway.settle()
        texts = dict(_texts(gateway, receiver))
        gateway.stop()
        texts.update(_files(tmp_path))
    found = {place for place, text in texts.items() for secret in secrets if secret.encode() in text}
    # Only files that the test itself wrote are exempt.
    assert found == set()
    # The texts are really there: they contain what the run asked for.
    assert any(b"gpt-4o" in text for text in texts.values())
    assert len(texts) > 8


def _traffic(gateway: Gateway, providers: Providers, issued: str) -> None:
    chat = gateway.openai("app").chat.completions
    chat.create(model="chat", messages=ASK)
    list(chat.create(model="chat", messages=ASK, stream=True))
    gateway.openai(issued).chat.completions.create(model="chat", messages=ASK)
    gateway.anthropic("app").messages.create(model="claude", messages=ASK, max_tokens=50)
    gateway.gemini("app").models.generate_content(model="gemini", contents="hello")
    gateway.http().post(
        f"/v1beta/models/gemini:generateContent?key={gateway.secret('app')}",
        json={"contents": [{"parts": [{"text": "hello"}]}]},
    ).raise_for_status()
    for fault in (Fault(FaultKind.STATUS, status=500), Fault(FaultKind.STATUS, status=401), Fault(FaultKind.CUT)):
        providers.fault(Vendor.OPENAI, fault)
        with contextlib.suppress(openai.APIError, httpx.HTTPError):
            chat.create(model="chat", messages=ASK)
    with pytest.raises(openai.RateLimitError):
        gateway.openai("broke").chat.completions.create(model="chat", messages=ASK)
    with pytest.raises(openai.AuthenticationError):
        gateway.openai(MISPLACED).chat.completions.create(model="chat", messages=ASK)
    # Keys where no key belongs: in other credential headers, in the body's model, in the path.
    plain = gateway.http("app")
    ask = {"model": "chat", "messages": ASK}
    plain.post("/v1/chat/completions", json=ask, headers={"x-api-key": MISPLACED, "cookie": f"k={MISPLACED}"})
    plain.get("/v1/models", params={"key": MISPLACED})
    plain.post("/v1/chat/completions", content=b"{not json")


def _texts(gateway: Gateway, receiver: OtlpReceiver) -> Iterator[tuple[str, bytes]]:
    """Everything that the running gateway shows."""
    commands = (
        ["budgets"],
        ["usage"],
        ["calls", "list"],
        ["keys", "list"],
        ["tokens", "list"],
        ["audit"],
        ["routes"],
        ["alerts", "list"],
        ["doctor"],
    )
    for command in commands:
        done = gateway.run(*command, "--json")
        yield f"spendgate {' '.join(command)}", (done.stdout + done.stderr).encode()
    for path in ("/config_dump?include_eds", "/clusters", "/stats", "/listeners", "/certs", "/server_info"):
        yield f"envoy {path}", gateway.ask_envoy(path)
    for span in receiver.wait_for(lambda spans: any(span.service == "spendgate-ledger" for span in spans)):
        yield f"span {span.span_id}", json.dumps([span.name, span.attributes], default=str).encode()


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
