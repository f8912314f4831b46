"""`spendgate simulate`: what it sends, the document that it prints, and how it ends when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.quota.v1 import simulation_service_pb2 as simulation
from spendgate.type.v1 import dialect_pb2
from spendgate.type.v1.attribution_pb2 import Attribution

from services.chassis.well_known import duration, usd
from services.cli.main import run
from services.cli.session import Session
from services.kernel.clock import ManualClock
from services.kernel.errors import FailedPrecondition, InvalidInput
from tests.worlds.stand_in_services import TOKEN, StandIn

# 2027-01-15T08:00:00Z
NOW_MS = 1_800_000_000_000
WHO = Attribution(key_id="key_1", key="app", team="ds")
CENT = 10_000_000


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "proposed.yaml"
    policy = {"name": "tight", "limits": [{"spend": 2, "per": "month"}]}
    path.write_text(json.dumps({"version": 1, "organization": "acme", "policies": [policy]}))
    return str(path)


def simulate(services: StandIn, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        run(
            ["simulate", "--admin", services.address, *arguments],
            Session({"SPENDGATE_TOKEN": TOKEN}, ManualClock(NOW_MS)),
        )
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def call(number: int, **changes: Any) -> ledger.Call:
    facts: dict[str, Any] = {
        "id": f"rsv_{number}", "start_time": Timestamp(seconds=1_799_000_000 + number), "latency": duration(900),
        "attribution": WHO, "model_requested": "m", "model_served": "lab/m", "dialect": dialect_pb2.DIALECT_OPENAI,
        "run": "r", "input_tokens": 8, "cached_input_tokens": 1, "cache_write_input_tokens": 3,
        "cache_write_1h_input_tokens": 2, "output_tokens": 5, "reasoning_tokens": 4, "cost": usd(CENT),
        "unknown_members": ["frobnicate"], "meters": {"cached_input": 1, "web_searches": 2}, "service_tier": "flex",
        "operation": "chat",
    }  # fmt: skip
    return ledger.Call(**facts | changes)


def report() -> simulation.SimulatePoliciesResponse:
    first = Timestamp(seconds=1_799_000_002)
    limit = simulation.LimitOutcome(
        policy="tight", limit_kind=quota.LIMIT_KIND_SPEND, window="month/UTC", denied=1, first_denied_time=first,
        saved=usd(CENT), peak_used_basis_points=9_999,
    )  # fmt: skip
    refusing = simulation.UnknownMembersOutcome(policy="strict", denied=1, first_denied_time=first, saved=usd(CENT))
    caller = simulation.CallerOutcome(team="ds", key="app", denied=1, first_time=first, saved=usd(CENT))
    return simulation.SimulatePoliciesResponse(
        calls=3, allowed=2, denied=1, unpriced=1, real_cost=usd(3 * CENT), simulated_cost=usd(2 * CENT),
        limits=[limit], callers=[caller], unknown_members=[refusing],
    )  # fmt: skip


def test_the_document_has_every_number_as_the_contract_writes_it(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse(calls=[call(1)])
    services.answers["SimulationService.SimulatePolicies"] = report()

    code, out, err = simulate(services, capsys, "-f", file, "--since", "1d", "--json")

    assert (code, err) == (0, "")
    document = json.loads(out)
    assert len(document.pop("notes")) == 3
    assert document == {
        "since": "2027-01-14T08:00:00Z",
        "until": "2027-01-15T08:00:00Z",
        "calls": 3,
        "allowed": 2,
        "degraded": 0,
        "denied": 1,
        "unpriced": 1,
        "real_cost_usd": "0.030000000",
        "simulated_cost_usd": "0.020000000",
        "saved_usd": "0.010000000",
        "policies": [
            {
                "policy": "tight",
                "limit_kind": "spend",
                "window": "month/UTC",
                "denied": 1,
                "degraded": 0,
                "first_denied_at": "2027-01-03T18:13:22Z",
                "first_degraded_at": None,
                "saved_usd": "0.010000000",
                "peak_used_ratio": 0.9999,
            }
        ],
        "unknown_members": [
            {
                "policy": "strict",
                "denied": 1,
                "first_denied_at": "2027-01-03T18:13:22Z",
                "saved_usd": "0.010000000",
            }
        ],
        "keys": [
            {
                "team": "ds",
                "key": "app",
                "denied": 1,
                "degraded": 0,
                "first_at": "2027-01-03T18:13:22Z",
                "saved_usd": "0.010000000",
            }
        ],
    }


def test_the_policies_go_first_and_then_every_page_of_the_ledger_oldest_first(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    unpriced = call(2)
    unpriced.ClearField("cost")
    services.answers["LedgerService.ListCalls"] = [
        ledger.ListCallsResponse(calls=[call(1)], next_page_token="more"),
        ledger.ListCallsResponse(calls=[unpriced]),
    ]
    services.answers["SimulationService.SimulatePolicies"] = report()

    assert simulate(services, capsys, "-f", file, "--since", "1d")[0] == 0

    asked = [request for method, request in services.requests if method == "LedgerService.ListCalls"]
    assert [(each.oldest_first, each.page_token) for each in asked] == [(True, ""), (True, "more")]
    assert (asked[0].start_time.seconds, asked[0].end_time.seconds) == (NOW_MS // 1_000 - 86_400, NOW_MS // 1_000)
    first, one, two = dict(services.requests)["SimulationService.SimulatePolicies"]
    assert "tight" in [policy.name for policy in first.proposal.policies]
    (sent,) = one.calls.calls
    booked = call(1)
    alike = [field.name for field in simulation.PastCall.DESCRIPTOR.fields]
    assert all(getattr(booked, name) for name in alike)
    assert sent == simulation.PastCall(**{name: getattr(booked, name) for name in alike})
    assert not two.calls.calls[0].HasField("cost")


def test_people_read_who_was_stopped_when_and_what_it_saves(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse(calls=[call(1)])
    services.answers["SimulationService.SimulatePolicies"] = report()

    code, out, err = simulate(services, capsys, "-f", file)

    assert (code, err) == (0, "")
    assert "3 calls from 2026-12-16 08:00:00 to 2027-01-15 08:00:00 UTC: 2 allowed, 0 degraded, 1 denied" in out
    assert "They cost $0.03, would have cost $0.02, saved $0.01." in out
    assert "99.99 %" in out
    (refusing,) = [line for line in out.splitlines() if line.startswith("strict ")]
    assert "unknown members" in refusing
    assert "2027-01-03 18:13:22" in out


def test_a_time_without_calls_says_so(services: StandIn, capsys: pytest.CaptureFixture[str], file: str) -> None:
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse()
    services.answers["SimulationService.SimulatePolicies"] = simulation.SimulatePoliciesResponse()

    code, out, _ = simulate(services, capsys, "-f", file)

    assert (code, out) == (
        0,
        "No calls from 2026-12-16 08:00:00 to 2027-01-15 08:00:00 UTC: there is nothing to replay.\n",
    )


def test_a_ledger_that_fails_between_two_pages_is_reported_and_no_half_report(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    services.answers["LedgerService.ListCalls"] = FailedPrecondition("the ledger is being moved")
    services.answers["SimulationService.SimulatePolicies"] = report()

    code, out, err = simulate(services, capsys, "-f", file)

    assert (code, out, err) == (1, "", "error: the ledger is being moved\n")


def test_a_policy_that_quota_does_not_take_is_named(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse()
    services.answers["SimulationService.SimulatePolicies"] = InvalidInput("policies[0].limits[0].per", "say how long")

    assert simulate(services, capsys, "-f", file)[::2] == (1, "error: policies[0].limits[0].per: say how long\n")


def test_times_in_the_wrong_order_and_mistakes_of_the_file_are_misuse(
    services: StandIn, capsys: pytest.CaptureFixture[str], file: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\norganization: acme\npolicies: [{name: odd, limits: [{spned: 4, per: month}]}]\n")

    assert simulate(services, capsys, "-f", file, "--since", "1d", "--until", "2d")[::2] == (
        2,
        "error: --until lies before --since\n",
    )
    code, _, err = simulate(services, capsys, "-f", str(wrong))
    assert (code, "wrong.yaml:3:" in err, "spned" in err) == (2, True, True)
    assert services.requests == []
