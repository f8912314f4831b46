"""Who may do what on a running gateway: roles, overrides within a cap, and the audit log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest
from typer.testing import CliRunner, Result

from services.chassis.process import SystemClock
from services.cli.main import build_app
from services.cli.problems import Refused
from services.cli.session import Session
from tests.worlds.gateway import Gateway, Providers, run_gateway

# A story: the last test reads in the audit log what the tests before it did.
pytestmark = [pytest.mark.e2e, pytest.mark.story]

CONFIGURATION = {
    "models": {"tiny": {"targets": ["openai/tiny"]}},
    # A call of 10 output tokens costs a ten-thousandth of a dollar and holds as much.
    "prices": {"openai/tiny": {"input": 0, "output": 10}},
    "teams": {"ds": {}, "marketing": {}},
    "policies": [
        {"name": "everybody", "limits": [{"requests": 1000, "per": "day"}]},
        {"name": "ds", "match": {"team": "ds"}, "limits": [{"spend": 1, "per": "month"}]},
        {"name": "ds-dev", "match": {"team": "ds", "environment": "dev"}, "limits": [{"spend": 0, "per": "month"}]},
    ],
    "keys": [
        {"name": "dev", "team": "ds", "environment": "dev"},
        {"name": "theirs", "team": "marketing", "environment": "prod"},
    ],
}
ASK: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Answer in 10 tokens."}], "max_tokens": 10}
IN_FORCE_S = 1.0


@dataclass(frozen=True)
class Person:
    """Somebody with an admin token and nothing else: no data directory, no file of the gateway's."""

    gateway: Gateway
    token: str

    def run(self, *arguments: str) -> Result:
        session = Session({"SPENDGATE_TOKEN": self.token}, SystemClock())
        return CliRunner().invoke(build_app(), [*arguments, "--admin", self.gateway.admin], obj=session)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, f"{done.exception!r}\n{done.output}"
        return json.loads(done.stdout)

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert isinstance(done.exception, Refused), (done.exception, done.output)
        return str(done.exception)

    def rest(self, verb: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        return httpx.request(
            verb,
            f"http://{self.gateway.admin}/v1/{path}",
            json=body,
            headers={"authorization": f"Bearer {self.token}", **headers},
        )


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with run_gateway(tmp_path_factory.mktemp("people"), CONFIGURATION, vendors) as running:
        yield running


def person(gateway: Gateway, name: str, *role: str) -> Person:
    made = gateway.json("tokens", "create", name, "--role", *role, "--reason", f"{name} joined")
    return Person(gateway, made["secret"])


@pytest.fixture(scope="module")
def lead(gateway: Gateway) -> Person:
    return person(gateway, "lead", "team-admin", "--team", "ds")


@pytest.fixture(scope="module")
def finance(gateway: Gateway) -> Person:
    return person(gateway, "cfo", "finance")


def test_a_team_admin_makes_a_key_and_room_for_it_without_anybody_else(gateway: Gateway, lead: Person) -> None:
    made = lead.json("keys", "create", "dev-2", "--team", "ds", "--environment", "dev", "--reason", "a new service")
    app = gateway.openai(made["secret"])
    with pytest.raises(openai.RateLimitError, match="Budget ds-dev is exhausted"):
        app.chat.completions.create(**ASK)

    override = lead.json("overrides", "grant", "ds-dev", "--usd", "0.0001", "--until", "1h", "--reason", "launch week")
    granted_at = time.monotonic()
    app.chat.completions.create(**ASK)
    assert time.monotonic() - granted_at < IN_FORCE_S

    with pytest.raises(openai.RateLimitError) as refused:
        app.chat.completions.create(**ASK)
    body: Any = refused.value.body
    assert body["details"]["limit"] == "0.000100000"
    assert body["details"]["override_until"] == override["until"]
    assert f"The limit is an override until {override['until']}." in body["message"]

    gateway.settle()
    (tightest, *others) = lead.json("keys", "limits", "dev-2")["limits"]
    assert (tightest["policy"], tightest["limit_usd"], tightest["settled_usd"]) == (
        "ds-dev",
        "0.000100000",
        "0.000100000",
    )
    assert tightest["override"] == {"name": override["name"], "until": override["until"]}
    assert [(limit["policy"], limit["override"]) for limit in others] == [("everybody", None), ("ds", None)]
    explained = lead.json("explain", "--key", "dev-2", "--model", "tiny")
    assert (explained["decision"], explained["policies"][0]["override_until"]) == ("deny", override["until"])

    lead.json("overrides", "revoke", override["name"], "--reason", "launch is over")
    assert gateway.budget("ds-dev")["override"] is None
    assert lead.json("keys", "rotate", "dev-2", "--reason", "it was in a screenshot")["secret"] != made["secret"]
    assert lead.json("keys", "disable", "dev-2", "--reason", "not needed")["state"] == "disabled"


def test_an_override_is_over_at_its_expiry_with_nobody_doing_anything(gateway: Gateway, lead: Person) -> None:
    until = datetime.now(UTC) + timedelta(seconds=4)
    lead.json("overrides", "grant", "ds-dev", "--usd", "0.5", "--until", until.isoformat(), "--reason", "a demo")
    app = gateway.openai("dev")
    app.chat.completions.create(**ASK)
    while datetime.now(UTC) < until:
        time.sleep(0.05)
    with pytest.raises(openai.RateLimitError, match=r"exhausted: \S+ of \$0 spent"):
        app.chat.completions.create(**ASK)
    assert lead.json("overrides", "list") == {"overrides": []}


def test_a_team_admin_is_refused_outside_its_team_and_beyond_its_cap(gateway: Gateway, lead: Person) -> None:
    grant = ("overrides", "grant", "--until", "1h", "--reason", "more")
    assert "up to $1.000000000, the cap of team ds: beyond it ask the platform role" in lead.refused(
        *grant, "ds-dev", "--usd", "1.000000001"
    )
    assert "only the platform role may override it" in lead.refused(*grant, "ds", "--usd", "0.5")
    assert "policy everybody belongs to no team" in lead.refused(*grant, "everybody", "--count", "5")
    assert "belongs to team marketing" in lead.refused("keys", "disable", "theirs")
    assert "belongs to team marketing" in lead.refused("keys", "limits", "theirs")
    assert "belongs to no team" in lead.refused("keys", "create", "stray")
    assert "CreateAdminToken is for platform" in lead.refused("tokens", "create", "me-2", "--role", "platform")
    assert "for others the platform and finance roles may ask" in lead.refused(
        "usage", "--by", "team", "--where", "team=marketing"
    )
    assert "ListAuditEntries is for platform or finance" in lead.refused("audit")


def test_a_team_admin_sees_its_team_alone(gateway: Gateway, lead: Person) -> None:
    gateway.openai("theirs").chat.completions.create(**ASK)
    gateway.settle()
    (theirs,) = [call for call in gateway.calls() if call["team"] == "marketing"]

    assert {key["team"] for key in lead.json("keys", "list")["keys"]} == {"ds"}
    budgets = lead.json("budgets")["budgets"]
    assert {"ds", "ds-dev"} <= {budget["policy"] for budget in budgets}
    assert all("team=ds" in budget["scope"].split(",") for budget in budgets)
    assert {call["team"] for call in lead.json("calls", "list")["calls"]} == {"ds"}
    assert {row["team"] for row in lead.json("usage", "--by", "team")["usage"]} == {"ds"}
    assert "is of another team" in lead.refused("calls", "show", theirs["id"])
    assert [team["name"] for team in lead.rest("GET", "teams").json()["teams"]] == ["ds"]


def test_finance_reads_everything_and_changes_nothing(gateway: Gateway, finance: Person) -> None:
    reads: tuple[tuple[str, ...], ...] = (
        ("usage",),
        ("calls", "list"),
        ("budgets",),
        ("keys", "list"),
        ("keys", "limits", "dev"),
        ("explain", "--key", "dev", "--model", "tiny"),
        ("alerts", "list"),
        ("overrides", "list"),
        ("tokens", "list"),
        ("audit",),
        ("routes",),
        ("status",),
    )
    for command in reads:
        finance.json(*command)
    before = gateway.json("audit")
    writes: tuple[tuple[str, ...], ...] = (
        ("keys", "create", "mine"),
        ("keys", "disable", "dev"),
        ("overrides", "grant", "ds-dev", "--usd", "1", "--until", "1h", "--reason", "mine"),
        ("tokens", "create", "me", "--role", "platform"),
        ("tokens", "revoke", "cfo"),
        ("apply", "-f", str(gateway.data_dir.parent / "spendgate.yaml")),
    )
    for command in writes:
        assert "admin token cfo has role finance" in finance.refused(*command)
    assert gateway.json("audit") == before


def test_rest_is_judged_as_grpc_is_and_nobody_names_himself(gateway: Gateway, finance: Person) -> None:
    assert finance.rest("GET", "budgets").status_code == 200
    for path in ("virtualKeys", "virtualKeys/dev:disable", "quota:apply", "router:apply", "ledger:apply"):
        refused = finance.rest("POST", path, {}, **{"x-spendgate-actor": "platform::root"})
        assert (refused.status_code, refused.json()["code"]) == (403, 7), path
    # If the call passes, the client's own claims are removed as well.
    lead = person(gateway, "lead-2", "team-admin", "--team", "marketing")
    made = lead.rest(
        "POST",
        "virtualKeys",
        {"virtualKey": {"name": "x", "attribution": {"team": "ds"}}},
        **{"x-spendgate-actor": "a::b"},
    )
    assert (made.status_code, made.json()["code"]) == (403, 7)


def test_an_expired_or_revoked_token_is_refused(gateway: Gateway) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    brief = person(gateway, "brief", "finance", "--expires", until.isoformat())
    brief.json("budgets")
    gone = person(gateway, "gone", "finance")
    gateway.json("tokens", "revoke", "gone", "--reason", "left")
    assert "does not take this admin token" in gone.refused("budgets")
    while datetime.now(UTC) < until:
        time.sleep(0.05)
    assert "Admin token brief expired on" in brief.refused("budgets")
    assert brief.rest("GET", "budgets").status_code == 401


def test_every_change_is_in_the_audit_log_with_who_and_why(gateway: Gateway, lead: Person, tmp_path: Any) -> None:
    lead.json("keys", "create", "logged", "--team", "ds", "--reason", "to be logged")
    file = tmp_path / "spendgate.yaml"
    document = json.loads((gateway.data_dir.parent / "spendgate.yaml").read_text())
    document["prices"]["openai/tiny"]["output"] = 11
    document["models"]["tiny-2"] = {"targets": ["openai/tiny"]}
    document["policies"][0]["limits"][0]["requests"] = 999
    file.write_text(json.dumps(document))
    gateway.json("apply", "-f", str(file), "--reason", "prices rose")

    entries = gateway.json("audit", "--limit", "1000")["entries"]

    made = next(entry for entry in entries if entry["name"] == "logged")
    assert (made["actor"], made["role"], made["action"], made["reason"]) == (
        "lead",
        "team-admin",
        "create",
        "to be logged",
    )
    assert (made["before"], made["after"]["attribution"]["team"]) == (None, "ds")
    assert made["request_id"]
    applied = {(entry["kind"], entry["name"], entry["action"]) for entry in entries if entry["reason"] == "prices rose"}
    assert applied == {
        ("price", "openai/tiny", "update"),
        ("model", "tiny-2", "create"),
        ("policy", "everybody", "update"),
    }
    raised = next(entry for entry in entries if entry["kind"] == "policy" and entry["name"] == "everybody")
    assert (raised["before"]["limits"][0]["bound"], raised["after"]["limits"][0]["bound"]) == (1000, 999)
    assert {(entry["actor"], entry["reason"]) for entry in entries} >= {
        ("root", "spendgate up"),
        ("lead", "launch week"),
    }
    times = [entry["time"] for entry in entries]
    assert times == sorted(times, reverse=True)
    assert {entry["actor"] for entry in gateway.json("audit", "--actor", "lead")["entries"]} == {"lead"}
