"""`spendgate apply` against a running gateway: idempotent, previewable, in force at once, refused as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.gateway import Gateway, Providers, run_gateway

pytestmark = pytest.mark.e2e

CONFIGURATION: dict[str, Any] = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    "prices": {"openai/tiny": {"input": 1, "output": 10}},
    "teams": {"ds": {}},
    "policies": [{"name": "ds", "match": {"team": "ds"}, "limits": [{"requests": 1, "per": "month"}]}],
    "keys": [{"name": "app", "team": "ds"}],
}


@pytest.fixture
def gateway(tmp_path: Path, providers: Providers) -> Any:
    with run_gateway(tmp_path, CONFIGURATION, providers) as running:
        yield running


def _changed(gateway: Gateway, tmp_path: Path, **changes: Any) -> str:
    document = json.loads((tmp_path / "spendgate.yaml").read_text()) | changes
    file = tmp_path / "changed.yaml"
    file.write_text(json.dumps(document, indent=1))
    return str(file)


def _apply(gateway: Gateway, *arguments: str) -> Any:
    done = gateway.run("apply", "--json", *arguments, environment={"KEY_APP": gateway.secret("app")})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _ask(gateway: Gateway) -> int:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Answer in 5 tokens."}]}
    return gateway.http("app").post("/v1/chat/completions", json=body).status_code


def test_applying_the_same_file_again_changes_nothing(gateway: Gateway, tmp_path: Path) -> None:
    file = str(tmp_path / "spendgate.yaml")
    assert _apply(gateway, "-f", file)["changes"] == []
    done = gateway.run("apply", "-f", file, environment={"KEY_APP": gateway.secret("app")})
    assert (done.returncode, done.stdout) == (0, "nothing to change\n")


def test_a_dry_run_says_what_would_change_and_changes_nothing(gateway: Gateway, tmp_path: Path) -> None:
    file = _changed(gateway, tmp_path, teams={"ds": {}, "new": {"projects": ["one"]}})
    preview = _apply(gateway, "-f", file, "--dry-run")
    assert [(change["action"], change["kind"], change["name"]) for change in preview["changes"]] == [
        ("create", "team", "new")
    ]
    assert _apply(gateway, "-f", file, "--dry-run") == preview
    assert _apply(gateway, "-f", file)["changes"] == preview["changes"]
    assert _apply(gateway, "-f", file, "--dry-run")["changes"] == []


def test_a_raised_limit_lets_the_same_key_go_on_without_a_restart(gateway: Gateway, tmp_path: Path) -> None:
    assert _ask(gateway) == 200
    gateway.settle(calls=1)
    assert _ask(gateway) == 429
    raised = [{"name": "ds", "match": {"team": "ds"}, "limits": [{"requests": 2, "per": "month"}]}]
    _apply(gateway, "-f", _changed(gateway, tmp_path, policies=raised))
    assert _ask(gateway) == 200


def test_a_file_that_one_service_refuses_changes_nothing_in_the_others(gateway: Gateway, tmp_path: Path) -> None:
    changed = _changed(
        gateway,
        tmp_path,
        prices={"openai/tiny": {"input": 5, "output": 50}},
        keys=[{"name": "app", "team": "ds", "secret": {"env": "KEY_APP"}}],
    )
    # A secret that only quota can judge: ours by its beginning, but its checksum does not hold.
    done = gateway.run("apply", "-f", changed, environment={"KEY_APP": "spg_live_" + "a" * 38})
    assert done.returncode == 1
    assert "keys[0].secret" in done.stderr
    assert _apply(gateway, "-f", str(tmp_path / "spendgate.yaml"))["changes"] == []


def test_without_a_gateway_or_with_a_wrong_token_it_says_what_to_do(gateway: Gateway, tmp_path: Path) -> None:
    file = str(tmp_path / "spendgate.yaml")
    done = gateway.run("apply", "-f", file, environment={"SPENDGATE_TOKEN": "not-the-token-of-this-gateway"})
    assert done.returncode == 1
    assert "does not take this admin token" in done.stderr
    done = gateway.run("apply", "-f", file, environment={"SPENDGATE_ADMIN": "127.0.0.1:9"})
    assert done.returncode == 1
    assert "no gateway answers at 127.0.0.1:9: start one with `spendgate up`" in done.stderr
