"""A provider without its credential, or with one that it refuses: calls say so, operators see it, and it comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from services.chassis.sealed_text import KEY_VARIABLE, new_sealing_key
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, run_command, run_gateway

pytestmark = pytest.mark.e2e

FILE = "late-key"
REFUSED_FILE = "revoked-key"
SEALING_KEY = new_sealing_key()
UNNAMED = "KEY_OF_A_LATER_PROVIDER"
_FOUND_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    late = {**vendors.configuration["anthropic"], "api_key": {"file": FILE}}
    configuration = {
        "providers": {**vendors.configuration, "late": late, "revoked": {**late, "api_key": {"file": REFUSED_FILE}}},
        "models": {
            "claude": {"targets": ["late/claude-haiku-4-5"]},
            "other-claude": {"targets": ["revoked/claude-haiku-4-5"]},
            "chat": {"targets": ["openai/gpt-4o"]},
        },
        "prices": {f"{name}/claude-haiku-4-5": {"input": 1, "output": 5} for name in ("late", "revoked")},
        "policies": [{"name": "all", "limits": [{"spend": 100, "per": "month"}]}],
        "keys": [{"name": "app"}],
    }
    variables = {KEY_VARIABLE: SEALING_KEY, UNNAMED: vendors.by_vendor[Vendor.OPENAI].api_key}
    with run_gateway(tmp_path_factory.mktemp("late"), configuration, vendors, environment=variables) as running:
        yield running


def ask(gateway: Gateway, model: str = "claude") -> None:
    gateway.anthropic("app").messages.create(
        model=model, max_tokens=20, messages=[{"role": "user", "content": "Answer in 5 tokens."}]
    )


def test_a_model_without_its_credential_is_refused_for_the_moment_until_the_credential_is_there(
    gateway: Gateway, vendors: Providers
) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(gateway)
    assert caught.value.status_code == 503
    message = str(caught.value)
    assert "Model claude has no usable target: the credential of provider late is missing." in message
    assert FILE not in message
    with pytest.raises(openai.InternalServerError) as other:
        gateway.openai("app").chat.completions.create(model="claude", messages=[{"role": "user", "content": "hi"}])
    assert other.value.code == "upstream_unavailable"
    explained = gateway.json("explain", "--key", "app", "--model", "claude")
    assert "the credential of provider late is missing" in explained["reason"]

    credential = vendors.by_vendor[Vendor.ANTHROPIC].api_key
    stored = run_command(
        "credentials",
        "put",
        FILE,
        environment={KEY_VARIABLE: SEALING_KEY, "SPENDGATE_DATA_DIR": str(gateway.data_dir)},
        given=credential,
    )
    assert stored.returncode == 0, stored.stderr
    assert credential not in (gateway.data_dir / "secrets" / FILE).read_text()

    gateway.settle()
    before = int(gateway.usage()["total"]["calls"])
    deadline = time.monotonic() + _FOUND_WITHIN_S
    while True:
        try:
            ask(gateway)
            break
        except anthropic.InternalServerError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    gateway.settle(before + 1)


def test_the_router_is_handed_only_the_variables_that_the_configuration_names(
    gateway: Gateway, vendors: Providers
) -> None:
    environ = Path(f"/proc/{gateway.pids()['router']}/environ").read_bytes()
    for name in (UNNAMED, *vendors.environment):
        assert f"{name}=".encode() not in environ
    # One that a later configuration names is handed over then; one that is not set is named with what to do.
    document = json.loads((gateway.data_dir.parent / "spendgate.yaml").read_text())
    document["providers"]["new"] = {**document["providers"]["openai"], "api_key": {"env": UNNAMED}}
    document["providers"]["unset"] = {**document["providers"]["openai"], "api_key": {"env": "NOBODY_SET_THIS"}}
    file = gateway.data_dir.parent / "later.yaml"
    file.write_text(json.dumps(document))
    applied = gateway.run("apply", "-f", str(file), environment={"KEY_APP": gateway.secret("app")})
    assert applied.returncode == 0, applied.stderr
    assert "provider unset: environment variable NOBODY_SET_THIS is not set where the gateway was started" in (
        applied.stdout + applied.stderr
    )
    assert UNNAMED not in applied.stdout + applied.stderr


def test_a_credential_that_the_provider_refuses_is_named_to_callers_and_to_operators(
    gateway: Gateway, vendors: Providers
) -> None:
    secret = "sk-ant-REVOKED-0123456789"
    (gateway.data_dir / "secrets" / REFUSED_FILE).write_text(secret)
    wait_for(lambda: not provider_of(gateway)["credential_problem"])

    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(gateway, "other-claude")
    assert caught.value.status_code == 502
    assert "The provider revoked refused the gateway's credential with status 401." in str(caught.value)
    assert secret not in str(caught.value)
    refusal = wait_for(lambda: provider_of(gateway)["credential_refusal"])
    assert refusal["status"] == 401
    assert refusal["attempts"] >= 1
    doctor = gateway.run("doctor")
    assert doctor.returncode == 1
    assert "credential of revoked" in doctor.stdout
    assert "refused by the provider with status 401" in doctor.stdout
    assert secret not in doctor.stdout + doctor.stderr

    (gateway.data_dir / "secrets" / REFUSED_FILE).write_text(vendors.by_vendor[Vendor.ANTHROPIC].api_key)
    wait_for(lambda: has_served(gateway))
    wait_for(lambda: provider_of(gateway)["credential_refusal"] is None)


def provider_of(gateway: Gateway) -> dict[str, Any]:
    """What `routes` says of the provider whose credential is refused."""
    providers: list[dict[str, Any]] = gateway.json("routes")["providers"]
    return next(one for one in providers if one["name"] == "revoked")


def has_served(gateway: Gateway) -> bool:
    """Whether the provider serves a call now."""
    try:
        ask(gateway, "other-claude")
    except anthropic.InternalServerError:
        return False
    return True


def wait_for(condition: Callable[[], Any]) -> Any:
    """Returns what the condition gives, once it gives something."""
    deadline = time.monotonic() + _FOUND_WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found
