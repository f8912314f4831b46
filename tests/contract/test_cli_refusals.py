"""How commands end when there is nothing to show or something is wrong: a sentence that says what to do, and a code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.router.v1 import router_service_pb2 as router
from typer.core import TyperGroup

from services.cli.main import build_app, run
from services.cli.session import Session
from services.kernel.clock import ManualClock
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound, PermissionDenied, Unavailable
from tests.worlds.stand_in_services import TOKEN, StandIn


def _run(capsys: pytest.CaptureFixture[str], *arguments: str, token: str = TOKEN) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run(arguments, Session({"SPENDGATE_TOKEN": token}, ManualClock()))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_where_there_is_nothing_yet_it_says_how_to_get_something(
    services: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    services.answers = {
        "QuotaService.GetQuotaStatus": quota.GetQuotaStatusResponse(),
        "QuotaService.ListBudgets": quota.ListBudgetsResponse(),
        "QuotaService.ListVirtualKeys": quota.ListVirtualKeysResponse(),
        "LedgerService.QueryUsage": ledger.QueryUsageResponse(),
        "LedgerService.ListCalls": ledger.ListCallsResponse(),
        "LedgerService.ListAlerts": ledger.ListAlertsResponse(),
        "RouterService.ListModels": router.ListModelsResponse(),
        "RouterService.ListProviders": router.ListProvidersResponse(),
        "RouterService.GetRouteStatus": router.GetRouteStatusResponse(),
    }
    for arguments, text in {
        ("budgets",): "No budgets yet: a limit shows up here once",
        ("keys", "list"): "No keys yet: declare them",
        ("usage",): "No calls in this time: usage shows up",
        ("calls", "list"): "No calls yet: point an SDK's base_url at the gateway",
        ("alerts", "list"): "No alerts yet: one is listed here when",
        ("routes",): "No models yet: declare providers and models",
    }.items():
        code, out, _ = _run(capsys, *arguments, "--admin", services.address)
        assert (code, out.startswith(text)) == (0, True), out


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotFound("no key named ci"), "no key named ci"),
        (AlreadyExists("ci exists: choose another name"), "ci exists: choose another name"),
        (InvalidInput("key.name", "is not a name"), "key.name: is not a name"),
        (InvalidInput("", "name a key or a model"), "name a key or a model"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_a_service_refuses_is_reported_in_its_words(
    services: StandIn, capsys: pytest.CaptureFixture[str], error: Exception, text: str, as_json: bool
) -> None:
    services.answers["QuotaService.CreateVirtualKey"] = error
    arguments = ["keys", "create", "ci", "--admin", services.address, *(["--json"] if as_json else [])]
    code, out, err = _run(capsys, *arguments)
    assert (code, err) == (1, f"error: {text}\n")
    assert (json.loads(out) if as_json else out) == ({"error": text} if as_json else "")


def test_a_wrong_token_is_reported_without_repeating_it(services: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _run(capsys, "budgets", "--admin", services.address, token="some-other-token")
    assert (code, out) == (1, "")
    assert "does not take this admin token" in err
    assert "some-other-token" not in err


def test_a_role_that_is_too_small_is_reported_in_the_gateways_words(
    services: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    services.answers["QuotaService.ListBudgets"] = PermissionDenied("admin token bob has role finance: this is for ...")
    code, _, err = _run(capsys, "budgets", "--admin", services.address)
    assert (code, err) == (1, "error: admin token bob has role finance: this is for ...\n")


def test_a_variable_that_nothing_reads_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"SPENDGATE_TOKNE": "not to be told"}
    with pytest.raises(SystemExit) as ended:
        run(["budgets", "--json"], Session(environ, ManualClock()))
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert "did you mean 'SPENDGATE_TOKEN'?" in json.loads(printed.out)["error"]
    assert "not to be told" not in printed.out + printed.err


def test_without_a_gateway_it_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capsys, "status", "--admin", "127.0.0.1:9")
    assert code == 1
    assert err == (
        "error: no gateway answers at 127.0.0.1:9: start one with `spendgate up`, or name it with --admin HOST:PORT\n"
    )


def test_a_service_that_restarts_behind_envoy_is_not_taken_for_a_gateway_that_is_not_there(
    services: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    services.answers["QuotaService.ListBudgets"] = Unavailable(
        "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport "
        "failure reason: delayed connect error: Connection refused"
    )

    code, _, err = _run(capsys, "budgets", "--admin", services.address)

    assert code == 1
    assert err.startswith(f"error: a service of the gateway at {services.address} is not available (upstream connect")
    assert err.endswith("it restarts by itself, try again\n")


def test_the_token_comes_from_the_data_directory_when_it_is_not_in_the_environment(
    services: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services.answers["QuotaService.ListBudgets"] = quota.ListBudgetsResponse()
    arguments = ("budgets", "--admin", services.address, "--data-dir", str(tmp_path))
    code, _, err = _run(capsys, *arguments, token="")
    assert code == 2
    assert f"no admin token: {tmp_path}/admin-token cannot be read. Name the gateway's data directory" in err
    (tmp_path / "admin-token").write_text(f"{TOKEN}\n")
    assert _run(capsys, *arguments, token="")[0] == 0


def test_what_a_client_wrote_cannot_steer_the_terminal(services: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    call = ledger.Call(id="rsv_1", model_requested="\x1b[2Jgpt\r\n[bold]", status=200)
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse(calls=[call])
    _, out, _ = _run(capsys, "calls", "list", "--admin", services.address)
    assert "\x1b" not in out
    assert "\r" not in out
    assert "[bold]" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("usage", "--by", "teem"), "--by 'teem': write some of team, project,"),
        (("usage", "--by", "team,team"), "--by 'team,team': each field once"),
        (("usage", "--since", "yesterday"), "--since 'yesterday': write a span like 7d or 12h"),
        (("keys", "create", "ci", "--expires", "soon"), "--expires 'soon': write a span like 7d or 12h"),
        (("budget",), "No such command 'budget'"),
        (("budgets", "--polcy", "p"), "No such option: --polcy"),
        (("explain", "--key", "ci"), "Missing option '--model'"),
        (("keys", "create"), "Missing argument 'NAME'"),
        (("calls", "list", "--limit", "0"), "should be greater than or equal to 1"),
        (("check", "-f", "absent.yaml"), "'absent.yaml' does not exist"),
        (("up", "--listen", "nowhere"), "--listen='nowhere': write HOST:PORT"),
        (("up", "--tls-certificate", "/dev/null"), "--tls-certificate and --tls-private-key go together"),
        (("up", "--otlp", "localhost"), "--otlp='localhost': write HOST:PORT"),
    ],
)
def test_misuse_ends_with_two_and_is_a_document_for_programs_only(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str
) -> None:
    code, out, err = _run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert text in err
    code, out, err = _run(capsys, *arguments, "--json")
    assert code == 2
    assert list(document := json.loads(out)) == ["error"]
    assert text in document["error"]
    assert text in err


FIELDS = "version, organization, providers, models, prices, environments, teams, policies, default_policies, "
FIELDS += "channels, keys, listeners"


def test_a_wrong_file_is_misuse_and_tells_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("version: 2\norganization: acme\nteam: {}\n")
    code, out, err = _run(capsys, "check", "-f", str(file))
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"error: {file}:1:1: version: this release reads `version: 1`",
        f"error: {file}:3:1: team: unknown field: did you mean 'teams'? known here: {FIELDS}",
    ]
    code, out, _ = _run(capsys, "check", "-f", str(file), "--json")
    assert code == 2
    assert json.loads(out)["problems"][1] | {"problem": ""} == {
        "file": str(file), "line": 3, "column": 1, "path": "team", "problem": "",
    }  # fmt: skip


def test_init_writes_a_file_that_passes_the_check_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "spendgate.yaml")
    assert _run(capsys, "init", "-f", file)[0] == 0
    assert _run(capsys, "check", "-f", file)[0] == 0
    Path(file).write_text("mine")
    code, _, err = _run(capsys, "init", "-f", file)
    assert (code, Path(file).read_text()) == (1, "mine")
    assert "exists and is left as it is" in err


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*path, name))
    else:
        yield path, command


def test_every_command_has_an_example_and_speaks_json() -> None:
    found = dict(_commands(typer.main.get_command(build_app())))
    assert {("up",), ("demo",), ("keys", "create"), ("calls", "tail"), ("alerts", "list")} <= set(found)
    for path, command in found.items():
        assert f"Example: spendgate {' '.join(path)}" in (command.help or ""), path
        assert any("--json" in parameter.opts for parameter in command.params), path
