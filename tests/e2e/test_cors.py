"""Web pages: what a browser needs of the gateway's answers, and what pages of other origins do not get."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

PAGE, OF_PATTERN, STRANGER = "https://app.example.com", "https://a.b.pages.example", "https://evil.example"
BODY: dict[str, Any] = {
    "model": "gpt",
    "max_tokens": 30,
    "messages": [{"role": "user", "content": "Answer in 20 tokens."}],
}
CONFIGURATION: dict[str, Any] = {
    "listeners": {"data": {"cors": {"origins": [PAGE, "https://*.pages.example"]}}},
    "models": {"gpt": {"targets": ["openai/gpt-4o"]}},
    "environments": ["app", "broke", "limited"],
    "policies": [
        {"name": "app", "match": {"environment": "app"}, "limits": [{"spend": 10, "per": "day"}]},
        {
            "name": "broke",
            "match": {"environment": "broke"},
            "limits": [{"spend": 0, "per": "day"}],
            "exhausted_status": 402,
        },
        {"name": "limited", "match": {"environment": "limited"}, "limits": [{"requests": 0, "per": "day"}]},
    ],
    "keys": [{"name": name, "environment": name} for name in ("app", "broke", "limited")],
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("cors"), CONFIGURATION, vendors) as running:
        yield running


def preflight(client: httpx.Client, path: str, origin: str) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    return client.options(path, headers={"origin": origin, **asked})


def nameless(gateway: Gateway) -> httpx.Client:
    """A client without a key, as the browser that asks before it sends one."""
    client = gateway.http("app")
    client.headers.pop("authorization", None)
    return client


@pytest.mark.parametrize("origin", [PAGE, OF_PATTERN])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gem:generateContent"])
def test_a_preflight_is_answered_before_anybody_asks_for_a_key(
    gateway: Gateway, providers: Providers, path: str, origin: str
) -> None:
    answer = preflight(nameless(gateway), path, origin)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert not any(providers.requests(vendor) for vendor in Vendor)


def check_readable(answer: httpx.Response, origin: str = PAGE) -> None:
    assert answer.headers.get_list("access-control-allow-origin") == [origin]
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    shown = {name for name in answer.headers if name.startswith("x-spendgate-")} | {"x-request-id", "x-trace-id"}
    assert shown <= exposed
    assert "*" in exposed
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_reads_an_answer_and_what_the_gateway_says_of_it(
    gateway: Gateway, providers: Providers, *, stream: bool
) -> None:
    answer = gateway.http("app").post("/v1/chat/completions", json={**BODY, "stream": stream}, headers={"origin": PAGE})

    assert answer.status_code == 200
    assert ("data: [DONE]" in answer.text) is stream
    assert "x-spendgate-model-served" in answer.headers
    check_readable(answer)
    (received,) = providers.requests(Vendor.OPENAI)
    assert "origin" not in received.headers


@pytest.mark.parametrize(
    ("key", "path", "body", "status"),
    [
        ("broke", "/v1/chat/completions", BODY, 402),
        ("limited", "/v1/chat/completions", BODY, 429),
        ("app", "/v1/chat/completions", {**BODY, "model": "gone"}, 404),
        ("app", "/v1/chat/completions", {**BODY, "max_tokens": "many"}, 400),
        ("app", "/v1/nothing", BODY, 404),
        ("", "/v1/chat/completions", BODY, 401),
    ],
)
def test_a_page_reads_why_it_was_refused(gateway: Gateway, key: str, path: str, body: Any, status: int) -> None:
    client = gateway.http(key) if key else nameless(gateway)
    answer = client.post(path, json=body, headers={"origin": PAGE})

    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    check_readable(answer)


def test_a_page_reads_that_a_provider_failed(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.OPENAI, Fault(FaultKind.STATUS, status=500))
    answer = gateway.http("app").post("/v1/chat/completions", json=BODY, headers={"origin": PAGE})

    assert answer.status_code == 500
    check_readable(answer)


def test_a_page_reads_lists_that_quota_answers(gateway: Gateway) -> None:
    answer = gateway.http("app").get("/v1/models", headers={"origin": OF_PATTERN})

    assert answer.status_code == 200
    check_readable(answer, OF_PATTERN)


@pytest.mark.parametrize("origin", [STRANGER, "https://pages.example", "http://a.pages.example", "null", f"{PAGE}."])
def test_a_page_of_another_origin_gets_no_leave(gateway: Gateway, origin: str) -> None:
    asked = preflight(nameless(gateway), "/v1/chat/completions", origin)
    answer = gateway.http("app").get("/v1/models", headers={"origin": origin})

    assert asked.status_code == 405
    for each in (asked, answer):
        assert not [name for name in each.headers if name.startswith("access-control-")]


def test_no_page_may_call_a_listener_of_which_nothing_is_said(gateway: Gateway) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "GET"}
    answer = httpx.options(f"http://{gateway.admin}/v1/virtualKeys", headers=asked)

    assert answer.status_code != 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_client_that_speaks_http_1_0_is_served(gateway: Gateway) -> None:
    body = json.dumps(BODY)
    key = gateway.http("app").headers["authorization"]
    head = f"POST /v1/chat/completions HTTP/1.0\r\nauthorization: {key}\r\ncontent-type: application/json\r\n"
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        received = b"".join(iter(lambda: connection.recv(65_536), b""))

    answered, _, document = received.partition(b"\r\n\r\n")
    assert answered.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert json.loads(document)["usage"]["completion_tokens"] == 20


def allow(gateway: Gateway, client: httpx.Client, origins: list[str]) -> Any:
    """Puts another list in force, and returns what changed."""
    file = gateway.data_dir.parent / "spendgate.yaml"
    document = json.loads(file.read_text())
    document["listeners"]["data"]["cors"]["origins"] = origins
    file.write_text(json.dumps(document))
    variables = {f"KEY_{name.upper()}": secret for name, secret in gateway.key_secrets.items()}
    applied = gateway.run("apply", "-f", str(file), "--json", environment=variables)
    deadline = time.monotonic() + 10
    while preflight(client, "/v1/chat/completions", origins[0]).status_code != 200:
        assert time.monotonic() < deadline
    return json.loads(applied.stdout)["changes"]


def test_a_new_list_of_origins_holds_at_once_and_closes_no_connection(gateway: Gateway) -> None:
    with gateway.http("app") as client:
        assert preflight(client, "/v1/chat/completions", STRANGER).status_code == 405
        opened = gateway.envoy_stats("http.data.")["downstream_cx_total"]
        changes = allow(gateway, client, [STRANGER])
        assert [(each["action"], each["kind"], each["name"]) for each in changes] == [("update", "listener", "data")]
        assert preflight(client, "/v1/chat/completions", PAGE).status_code == 405
        assert gateway.envoy_stats("http.data.")["downstream_cx_total"] == opened
        allow(gateway, client, CONFIGURATION["listeners"]["data"]["cors"]["origins"])
