"""`spendgate doctor`: a line for each thing that is right or wrong here, with a remedy."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from services.simulator.provider import Vendor
from tests.worlds.gateway import Providers, run_command, run_gateway

pytestmark = pytest.mark.e2e


def _examine(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = run_command("doctor", "--json", *arguments)
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in document["checks"]}


def test_a_running_gateway_is_all_well(tmp_path: Path, providers: Providers) -> None:
    configuration = {
        "models": {"tiny": {"targets": ["openai/tiny"]}},
        "channels": {"default": {"url": "json://127.0.0.1:9"}},
        "keys": [{"name": "app", "environment": "dev"}],
    }
    with run_gateway(tmp_path, configuration, providers) as gateway:
        listen = gateway.url.removeprefix("http://")
        arguments = ("--listen", listen, "--admin", gateway.admin, "--data-dir", str(gateway.data_dir))
        code, checks = _examine(*arguments)
    assert code == 0
    assert {check["level"] for check in checks.values()} == {"ok"}, checks
    assert checks[f"address {listen}"]["text"] == "this gateway listens there"
    assert {"python", "envoy", "disk", "clock", "plan", "credential of openai", "ledger", "quota"} <= checks.keys()


CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}
HINTS = {"x-title": "shop", "x-goog-fieldmask": "choices", "accept-language": "de"}


@pytest.mark.parametrize("allowed", [False, True])
def test_a_header_that_was_dropped_is_reported_and_its_remedy_helps(
    tmp_path: Path, providers: Providers, allowed: bool
) -> None:
    openai = providers.configuration["openai"] | ({"headers": {"allow": ["X-Title"]}} if allowed else {})
    configuration = {
        "providers": {"openai": openai},
        "models": {"tiny": {"targets": ["openai/tiny"]}},
        "keys": [{"name": "app", "unlimited": True}],
    }
    with run_gateway(tmp_path, configuration, providers) as gateway:
        gateway.http("app").post("/v1/chat/completions", json=CHAT, headers=HINTS).raise_for_status()
        gateway.settle(calls=1)
        code, checks = _examine("--admin", gateway.admin, "--data-dir", str(gateway.data_dir))
    assert code == 0
    (seen,) = providers.requests(Vendor.OPENAI)
    assert seen.headers.keys() & HINTS.keys() == ({"x-title"} if allowed else set())
    told = checks["headers to openai"]
    remedy = "clients should stop sending x-goog-fieldmask"
    if allowed:
        assert (told["text"], told["remedy"]) == ("clients send in vain: x-goog-fieldmask (1 call)", remedy)
    else:
        assert (told["level"], told["text"]) == (
            "warn",
            "clients send in vain: x-goog-fieldmask (1 call), x-title (1 call)",
        )
        assert told["remedy"].startswith("if they should pass: headers: {allow: [x-title]} at the provider")
        assert told["remedy"].endswith(remedy)


def test_what_is_wrong_is_reported_with_a_remedy(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "f.yaml"
    data_dir.mkdir()
    data_dir.chmod(0o755)
    (data_dir / "pepper").write_text("planted")
    file.write_text(
        "version: 1\norganization: acme\nproviders: {o: {preset: openai, api_key: {env: NO_SUCH_VARIABLE}}}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = f"127.0.0.1:{squatter.getsockname()[1]}"
        code, checks = _examine(
            "-f", str(file), "--listen", taken, "--admin", "127.0.0.1:9", "--data-dir", str(data_dir)
        )
    assert code == 1
    assert (checks["data directory"]["level"], checks["data directory"]["remedy"]) == ("fail", f"chmod 700 {data_dir}")
    assert checks[f"address {taken}"]["level"] == "fail"
    assert checks["provider o"]["text"] == "NO_SUCH_VARIABLE is not set in this shell"
    assert checks["gateway"]["level"] == "warn"


def test_a_wrong_configuration_is_reported_mistake_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("version: 1\norganization: acme\nteam: {}\n")
    code, checks = _examine("-f", str(tmp_path / "f.yaml"), "--data-dir", str(tmp_path / "data"))
    assert code == 1
    assert "f.yaml:3:1: team: unknown field" in checks["configuration"]["text"]
