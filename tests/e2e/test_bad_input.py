"""Bad input gets a clear error in the right place, in the client's dialect, and nothing is lost."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.worlds.gateway import Gateway, Providers, run_command, run_gateway
from tests.worlds.ports import free_port

pytestmark = pytest.mark.e2e

CONFIGURATION = {
    "models": {
        "chat": {"targets": ["openai/gpt-4o"]},
        "unpriced": {"targets": ["openai/nobody-knows-its-price"]},
        "claude": {"targets": ["anthropic/claude-haiku-4-5"]},
        "gemini": {"targets": ["gemini/gemini-2.5-flash"]},
    },
    "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
    "keys": [{"name": "app"}],
}
ASK: Any = [{"role": "user", "content": "Answer in 20 tokens."}]
CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "chat", "messages": ASK, "max_tokens": 50}
JSON = {"content-type": "application/json"}

BODIES = {
    "malformed": b'{"model": "chat", "messages": [',
    "not an object": b"[1, 2, 3]",
    "empty": b"",
    "binary": bytes(range(256)),
    "duplicate key": b'{"model": "cheap", "model": "chat", "messages": []}',
    "escaped key": b'{"model": "chat", "mod\\u0065l": "gemini", "messages": []}',
    "model is a number": b'{"model": 5, "messages": []}',
    "model is a list": b'{"model": ["chat"], "messages": []}',
    "stream is a text": b'{"model": "chat", "stream": "yes", "messages": []}',
    "max_tokens is a text": b'{"model": "chat", "max_tokens": "many", "messages": []}',
    "max_tokens is negative": b'{"model": "chat", "max_tokens": -5, "messages": []}',
    "no model": b'{"messages": []}',
    "a name in another case": b'{"model": "chat", "Max_Tokens": 9, "messages": []}',
    "a part with two types": b'{"model": "chat", "messages": [{"content": [{"type": "text", "type": "image"}]}]}',
    "not UTF-8": b'{"model": "chat\xff", "messages": []}',
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("bad"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture
def http(gateway: Gateway) -> httpx.Client:
    return gateway.http("app")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_cannot_be_meant_is_a_400_in_every_dialect(
    http: httpx.Client, providers: Providers, body: bytes
) -> None:
    openai = http.post(CHAT, content=body, headers=JSON)
    assert openai.status_code == 400, openai.text
    assert openai.json()["error"]["type"] == "invalid_request_error"
    assert openai.json()["error"]["message"]
    anthropic = http.post("/v1/messages", content=body, headers={**JSON, "anthropic-version": "2023-06-01"})
    assert anthropic.status_code == 400
    assert (anthropic.json()["type"], anthropic.json()["error"]["type"]) == ("error", "invalid_request_error")
    assert not any(providers.requests(vendor) for vendor in providers.by_vendor)


def test_a_compressed_body_is_refused_because_nobody_could_look_into_it(http: httpx.Client) -> None:
    packed = gzip.compress(json.dumps(GOOD).encode())
    answer = http.post(CHAT, content=packed, headers={**JSON, "content-encoding": "gzip"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    # It is not JSON either, but that message would make the client look in the wrong place.
    assert answer.json()["error"]["message"] == "Compressed bodies are not supported."


def test_a_body_of_thirty_megabytes_is_a_413_in_the_clients_dialect(http: httpx.Client) -> None:
    body = json.dumps({**GOOD, "messages": [{"role": "user", "content": "x" * 30_000_000}]}).encode()
    for path, code in ((CHAT, "request_too_large"), ("/v1/messages", None)):
        answer = http.post(path, content=body, headers=JSON)
        assert answer.status_code == 413
        error = answer.json()["error"]
        assert error.get("code") == code
        assert "large" in error["message"] or "large" in error["type"]


@pytest.mark.parametrize("model", ["unknown", "unpriced", "x" * 300, 'a"b', "../../etc/passwd"])
def test_a_model_that_cannot_be_served_is_named_in_a_404(http: httpx.Client, model: str) -> None:
    answer = http.post(CHAT, json={**GOOD, "model": model})
    assert answer.status_code == (400 if len(model) > 256 else 404), answer.text
    code = "invalid_request" if len(model) > 256 else "model_not_found"
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == (code, "model")


@pytest.mark.parametrize(
    ("path", "option", "parameter"),
    [
        (CHAT, {"service_tier": "priority-plus"}, "service_tier"),
        (CHAT, {"models": ["openai/o1-pro"]}, "models"),
        ("/v1/messages", {"model": "claude", "speed": "fast"}, "speed"),
        ("/v1beta/models/gemini:generateContent", {"tools": [{"googleSearch": {}}]}, "tools"),
    ],
)
def test_what_has_no_price_is_refused_by_name_under_a_limit_on_spend(
    http: httpx.Client, providers: Providers, path: str, option: dict[str, Any], parameter: str
) -> None:
    plain: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}]} if "gemini" in path else GOOD
    answer = http.post(path, json=plain | option)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert parameter in error["message"]
    if path == CHAT:
        assert (error["code"], error["param"]) == ("unsupported_parameter", parameter)
    assert not any(providers.requests(vendor) for vendor in providers.by_vendor)


def test_an_unknown_endpoint_is_a_404_in_the_envelope_that_sdks_read(http: httpx.Client) -> None:
    answer = http.post("/v1/imaginary", json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_nothing_of_a_client_can_start_a_line_of_its_own(gateway: Gateway, http: httpx.Client) -> None:
    gateway.settle()
    before, unreadable = gateway.usage()["total"]["calls"], gateway.status().unreadable_lines
    evil = 'x","kind":"call","id":"forged","reservation":"rsv_forged","cost_usd":"0'
    headers = {
        "x-request-id": evil,
        "user-agent": evil,
        "x-spendgate-run": evil,
        "x-spendgate-tags": f"feature={evil}",
        "x-spendgate-team": "forged",
        "x-stainless-retry-count": evil,
        "traceparent": evil,
    }
    served = [http.post(CHAT, json=GOOD, headers=headers).status_code]
    served.append(http.post(CHAT, json={**GOOD, "model": 'chat"}\n{"kind":"call"'}, headers=headers).status_code)
    served.append(http.post(CHAT, json=GOOD, headers={"x-spendgate-tags": "a=1,b=\t2,=,,,"}).status_code)
    assert served[1] in {400, 404}
    gateway.settle()
    assert gateway.usage()["total"]["calls"] - before == served.count(200)
    assert gateway.status().unreadable_lines == unreadable
    assert not [call for call in gateway.calls() if "forged" in {call["id"], call["team"]}]
    for line in (gateway.data_dir / "logs" / "refused.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_corrupted_spool_line_is_set_aside_and_what_follows_is_booked(gateway: Gateway, http: httpx.Client) -> None:
    gateway.settle()
    before, unreadable = gateway.usage()["total"]["calls"], gateway.status().unreadable_lines
    # Each start of Envoy has a file, and names end with the time of that start.
    spool = max((gateway.data_dir / "spool").glob("*.jsonl"))
    with spool.open("ab") as file:
        file.write(b'{"kind":"call","id":\xff\xfe\x00 this was never json\n[]\n')
    assert http.post(CHAT, json=GOOD).status_code == 200
    gateway.settle()
    assert gateway.usage()["total"]["calls"] == before + 1
    assert gateway.status().unreadable_lines == unreadable + 2


@pytest.mark.parametrize("name", ["quota", "ledger", "envoy"])
def test_a_process_that_cannot_write_refuses_or_waits_and_loses_nothing(
    gateway: Gateway, http: httpx.Client, name: str
) -> None:
    """RLIMIT_FSIZE stands for a full disk: every write that would make a file longer fails (and ends Envoy)."""
    gateway.settle()
    before = gateway.usage()["total"]["calls"]
    with _full_disk(gateway.pids()[name]):
        outcomes = [_status(http) for _ in range(5)]
    assert set(outcomes) <= {200, 503, None}
    assert name != "quota" or 503 in outcomes
    deadline = time.monotonic() + 20
    while _status(http) != 200:
        assert time.monotonic() < deadline, "it does not serve again"
        time.sleep(0.2)
    gateway.settle(timeout_s=60)
    booked = gateway.usage()["total"]["calls"] - before
    served = outcomes.count(200) + 1
    # A call that Envoy could not log is booked, too, at an estimate, whether or not it was answered.
    assert served <= booked <= served + outcomes.count(None)
    assert Decimal(gateway.budget("all")["settled_usd"]) == Decimal(gateway.usage()["total"]["cost_usd"])


@contextlib.contextmanager
def _full_disk(pid: int) -> Iterator[None]:
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


def _status(http: httpx.Client) -> int | None:
    """Of one call; None when the connection broke."""
    try:
        answer = http.post(CHAT, json=GOOD)
    except httpx.TransportError:
        return None
    if answer.status_code == 503:
        assert answer.json()["error"]["code"] == "policy_unavailable"
        assert "retry-after" in answer.headers
    return answer.status_code


def test_unknown_fields_of_the_configuration_are_errors_with_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("version: 1\norganization: acme\npolicies:\n  - name: p\n    limits: [{spend: 5, pr: month}]\n")
    for arguments in (["check", "-f", str(file)], ["up", "-f", str(file), "--data-dir", str(tmp_path / "data")]):
        done = run_command(*arguments)
        assert done.returncode == 2
        assert f"{file}:5:" in done.stderr
        assert "pr" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["--data-dir", str(tmp_path / "data"), "--admin-listen", f"127.0.0.1:{free_port()}"]
        done = run_command("up", "--listen", address, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --listen {address}: the port is taken"), done.stderr


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    for directory in (in_the_way, in_the_way / "below", Path("/proc/nowhere")):
        done = run_command("up", "--data-dir", str(directory), *listen)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith(f"error: data directory {directory} cannot be used: "), done.stderr
