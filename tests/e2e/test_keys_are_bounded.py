"""Two enemies of limits: a team admin who tries every way out, and a tired administrator who mistypes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from services.kernel.scope import NOBODY
from tests.e2e.test_people import Person, person
from tests.worlds.gateway import Gateway, Providers, run_command, run_gateway

pytestmark = pytest.mark.e2e

# $100 per million output tokens: 100 tokens are one cent. Input is free.
CONFIGURATION: dict[str, Any] = {
    "models": {"tiny": {"targets": ["openai/tiny"]}, "other": {"targets": ["openai/other"]}},
    "prices": {"openai/tiny": {"input": 0, "output": 100}, "openai/other": {"input": 0, "output": 100}},
    "teams": {
        "ds": {"projects": ["forecasting"], "members": ["ada@example.com"]},
        "web": {"projects": ["shop"], "members": ["bob@example.com"]},
    },
    "policies": [
        {"name": "ds-dev", "match": {"team": "ds", "environment": "dev"}, "limits": [{"spend": 0.02, "per": "month"}]},
        {
            "name": "ds-prod",
            "match": {"team": "ds", "environment": "prod"},
            "limits": [{"spend": 0.01, "per": "month"}],
        },
        {"name": "each", "match": {"team": "web"}, "each": "user", "limits": [{"spend": 0.01, "per": "month"}]},
    ],
    "keys": [{"name": "app", "team": "web"}, {"name": "leaky", "team": "web"}],
}
ALLOWED_USD = Decimal("0.03")
ASK: Any = {"messages": [{"role": "user", "content": "Answer in 100 tokens."}], "max_tokens": 100}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("bounded"), CONFIGURATION, vendors) as running:
        yield running


@pytest.fixture(scope="module")
def lead(gateway: Gateway) -> Person:
    return person(gateway, "lead", "team-admin", "--team", "ds")


def spend_all(gateway: Gateway, secret: str) -> None:
    """Makes calls with each model until one is refused."""
    client = gateway.openai(secret)
    for model in ("tiny", "other"):
        for _ in range(20):
            try:
                client.chat.completions.create(model=model, **ASK)
            except openai.APIStatusError:
                break


@pytest.mark.usefixtures("gateway")
def test_a_team_admin_who_tries_everything_stays_within_the_limits_of_its_team(gateway: Gateway, lead: Person) -> None:
    tried = 0
    for environment in ("dev", "prod", "staging", "", "Prod", "prod2", "-"):
        for team in ("ds", "web", "", "DS"):
            for more in (
                (),
                ("--project", "forecasting"),
                ("--project", "shop"),
                ("--user", "ada@example.com"),
                ("--user", "bob@example.com"),
                ("--user", NOBODY),
                ("--model", "other"),
                ("--unlimited",),
            ):
                tried += 1
                asked = ("--environment", environment, "--team", team, *more)
                done = lead.run("keys", "create", f"try-{tried}", *asked, "--json")
                if done.exit_code == 0:
                    assert (team, environment in {"dev", "prod"}) == ("ds", True), asked
                    assert not {"shop", "bob@example.com", NOBODY, "--unlimited"} & set(more), asked
                    spend_all(gateway, json.loads(done.stdout)["secret"])
    gateway.settle()

    total = next(row for row in gateway.usage("team")["usage"] if row["team"] == "ds")
    assert Decimal(total["cost_usd"]) == ALLOWED_USD
    assert not any(
        key["unlimited"] or key["environment"] not in {"dev", "prod"} for key in lead.json("keys", "list")["keys"]
    )


def test_a_tired_administrator_is_told_what_was_meant(gateway: Gateway) -> None:
    for arguments, hint in (
        (("keys", "create", "foo", "--environment", "prdo"), "there is no environment 'prdo': did you mean 'prod'?"),
        (("keys", "create", "foo", "--environment", "Prod"), "there is no environment 'Prod': did you mean 'prod'?"),
        (("keys", "create", "foo", "--team", "dss"), "there is no team 'dss': did you mean 'ds'?"),
        (("keys", "create", "foo", "--team", "ds", "--user", "ada@example.org"), "did you mean 'ada@example.com'?"),
        (("keys", "create", "foo", "--environment", "dev", "--model", "tny"), "did you mean 'tiny'?"),
        (("keys", "create", "foo"), "no enforced policy bounds what it can take"),
        (("keys", "rotate", "apps"), "there is no virtual key 'apps': did you mean 'app'?"),
        (("keys", "limits", "apps"), "there is no virtual key 'apps': did you mean 'app'?"),
        (("explain", "--key", "App", "--model", "tiny"), "there is no virtual key 'App': did you mean 'app'?"),
        (("explain", "--key", "app", "--model", "tinny"), "did you mean 'tiny'?"),
        (("budgets", "--policy", "ds-pord"), "there is no policy 'ds-pord': did you mean 'ds-prod'?"),
        (("tokens", "create", "x", "--role", "team-admin", "--team", "dss"), "did you mean 'ds'?"),
        (
            ("overrides", "grant", "ds-deev", "--usd", "1", "--until", "1h", "--reason", "x"),
            "there is no policy 'ds-deev': did you mean 'ds-dev'?",
        ),
        (
            (
                "overrides",
                "grant",
                "each",
                "--usd",
                "1",
                "--until",
                "1h",
                "--reason",
                "x",
                "--scope",
                "team=web,user=bo@example.com",
            ),
            "did you mean 'bob@example.com'?",
        ),
    ):
        done = gateway.run(*arguments)
        assert hint in done.stdout + done.stderr, (arguments, done.stdout, done.stderr)
    assert {key["name"] for key in gateway.json("keys", "list")["keys"]}.isdisjoint({"foo"})


def test_check_and_apply_refuse_with_the_place_in_the_file(gateway: Gateway, tmp_path: Path) -> None:
    text = (gateway.data_dir.parent / "spendgate.yaml").read_text()
    file = tmp_path / "f.yaml"
    for wrong, hint in (
        (text.replace('"environment": "prod"', '"environment": "prdo"'), "no environment 'prdo': did you mean 'prod'?"),
        (text.replace('"name": "app",\n      "team": "web"', '"name": "app",\n      "team": "wep"'), "no team 'wep'"),
    ):
        assert wrong != text
        file.write_text(wrong)
        line = next(
            at for at, (a, b) in enumerate(zip(wrong.splitlines(), text.splitlines(), strict=True), 1) if a != b
        )
        for command in ("check", "apply"):
            done = gateway.run(command, "-f", str(file))
            assert (done.returncode, f"{file}:{line}:" in done.stderr, hint in done.stderr) == (2, True, True), (
                done.stderr
            )
    # Only the gateway knows which keys were created.
    document = json.loads(text)
    document["policies"].append({"name": "k", "match": {"key": "ap"}, "limits": [{"spend": 1, "per": "day"}]})
    file.write_text(json.dumps(document, indent=1))
    checked, applied = gateway.run("check", "-f", str(file)), gateway.run("apply", "-f", str(file))
    assert (checked.returncode, "warning: " in checked.stderr) == (0, True)
    line = next(at for at, text in enumerate(file.read_text().splitlines(), 1) if '"ap"' in text)
    for told in (checked, applied):
        assert f"{file}:{line}:" in told.stderr
        assert "there is no virtual key 'ap': did you mean 'app'?" in told.stderr
    assert applied.returncode == 1


def test_calls_without_a_user_are_one_user(gateway: Gateway) -> None:
    client = gateway.openai("app")
    client.chat.completions.create(model="tiny", **ASK)
    gateway.settle()
    with pytest.raises(openai.RateLimitError, match="Budget each is exhausted"):
        client.chat.completions.create(model="tiny", **ASK)
    (budget,) = [
        each for each in gateway.budgets() if each["policy"] == "each" and each["settled_usd"] != "0.000000000"
    ]
    assert (budget["scope"], budget["settled_usd"]) == (f"team=web,user={NOBODY}", "0.010000000")
    assert gateway.status().drift_nano_usd == 0


def test_a_leaked_secret_of_the_file_stays_dead_after_a_rotation(gateway: Gateway) -> None:
    leaked = gateway.secret("leaky")
    newer = gateway.json("keys", "rotate", "leaky", "--reason", "it was in a screenshot")["secret"]

    file, environment = str(gateway.data_dir.parent / "spendgate.yaml"), {"KEY_LEAKY": leaked}
    applied = gateway.run("apply", "-f", file, environment=environment)

    assert applied.returncode == 0
    assert (
        "Virtual key leaky does not get the secret that the file declares: a rotation retired it on" in applied.stderr
    )
    with gateway.http(leaked) as old, gateway.http(newer) as new:
        assert (old.get("/v1/models").status_code, new.get("/v1/models").status_code) == (401, 200)


def test_keys_stop_working_with_the_policy_that_bounded_them_and_doctor_says_so(
    tmp_path: Path, vendors: Providers
) -> None:
    configuration = CONFIGURATION | {"keys": [{"name": "app", "team": "web"}]}
    with run_gateway(tmp_path, configuration, vendors) as gateway:
        document = json.loads((tmp_path / "spendgate.yaml").read_text())
        secret = gateway.json("keys", "create", "orphan", "--team", "web")["secret"]
        document["policies"] = [{"name": "one", "match": {"key": "app"}, "limits": [{"spend": 1, "per": "day"}]}]
        file = tmp_path / "f.yaml"
        file.write_text(json.dumps(document))

        applied = gateway.run("apply", "-f", str(file))

        assert "Virtual key orphan cannot be used: no enforced policy bounds what it can take" in applied.stderr
        with pytest.raises(openai.PermissionDeniedError, match="API key orphan has no limit for model tiny"):
            gateway.openai(secret).chat.completions.create(model="tiny", **ASK)
        (listed,) = [key for key in gateway.json("keys", "list")["keys"] if key["name"] == "orphan"]
        assert listed["state"] == "unbounded"
        examined = json.loads(gateway.run("doctor", "--json").stdout)
        (finding,) = [check for check in examined["checks"] if check["name"] == "keys without a policy"]
        assert (finding["level"], "orphan" in finding["text"]) == ("fail", True)


def test_a_lost_pepper_stops_the_start_with_a_sentence_and_doctor_says_it_too(
    tmp_path: Path, vendors: Providers
) -> None:
    with run_gateway(tmp_path, CONFIGURATION, vendors) as running:
        data_dir = running.data_dir
    (data_dir / "pepper").unlink()

    again = ("--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
    done = run_command("up", *again)
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]

    assert done.returncode == 1
    assert told.startswith(f"error: quota ended while it started: spendgate-quota: {data_dir}/pepper is missing, and")
    assert "Put it back from a backup" in told
    examined = json.loads(run_command("doctor", "--json", "--data-dir", str(data_dir)).stdout)
    (finding,) = [check for check in examined["checks"] if check["name"] == "pepper"]
    assert (finding["level"], "SPENDGATE_NEW_PEPPER=1" in finding["remedy"]) == ("fail", True)
