"""The documents of `spendgate alerts`."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.ledger.v1.switch_service_pb2 import LeadSwitch
from spendgate.type.v1.lead_reason_pb2 import LEAD_REASON_DRAINED, LEAD_REASON_ERRORS

from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import StandIn


def _time(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def test_alerts_name_threshold_window_and_recipients(services: StandIn, cli: Cli) -> None:
    alert = ledger.Alert(
        policy="ds", limit="spend per month", scope="team=ds", basis_points=8050,
        window_start_time=_time(1_798_761_600), cross_time=_time(1_800_000_000), recipients=["finance"],
    )  # fmt: skip
    overrun = ledger.Alert()
    overrun.CopyFrom(alert)
    overrun.basis_points, overrun.kind, overrun.excess = 0, ledger.ALERT_KIND_OVERRUN, 50_000_000
    unpriced = ledger.Alert()
    unpriced.CopyFrom(alert)
    unpriced.basis_points, unpriced.kind = 0, ledger.ALERT_KIND_UNPRICED
    unpriced.call, unpriced.target, unpriced.key, unpriced.team = "rsv_1", "openai/new", "app", "ds"
    unknown = ledger.Alert()
    unknown.CopyFrom(unpriced)
    unknown.kind = ledger.ALERT_KIND_UNKNOWN_MEMBERS
    unknown.unknown_members.extend(["frobnicate", "mood"])
    services.answers["LedgerService.ListAlerts"] = ledger.ListAlertsResponse(alerts=[alert, overrun, unpriced, unknown])
    shown = {
        "policy": "ds", "limit": "spend per month", "scope": "team=ds",
        "window_start": "2027-01-01T00:00:00Z", "crossed_at": "2027-01-15T08:00:00Z",
        "call": "",
        "target": "",
        "key": "",
        "team": "",
        "trace_id": "",
        "run": "",
        "unknown_members": [],
        "recipients": ["finance"], "delivered_at": None,
    }  # fmt: skip
    assert cli.json("alerts", "list") == {
        "alerts": [
            shown | {"kind": "threshold", "threshold": "80.5%"},
            shown | {"kind": "overrun", "threshold": None, "excess_usd": "0.050000000"},
            shown
            | {"kind": "unpriced", "threshold": None}
            | {"call": "rsv_1", "target": "openai/new", "key": "app", "team": "ds"},
            shown
            | {"kind": "unknown_members", "threshold": None, "unknown_members": ["frobnicate", "mood"]}
            | {"call": "rsv_1", "target": "openai/new", "key": "app", "team": "ds"},
        ]
    }
    _, listed, _ = cli.text("alerts", "list")
    assert "80.5%" in listed
    assert "overrun by $0.05" in listed
    assert "no price of openai/new, call of key app" in listed
    assert "nobody knows frobnicate, mood, call of key app: it held the context window" in listed


def test_a_switch_says_who_leads_instead_of_whom_and_why(services: StandIn, cli: Cli) -> None:
    left = ledger.Alert(
        kind=ledger.ALERT_KIND_SWITCH, cross_time=_time(1_800_000_000), recipients=["ds-lead"],
        lead_switch=LeadSwitch(
            id="one", model="sonnet", direction=LeadSwitch.DIRECTION_LEFT, reason=LEAD_REASON_ERRORS,
            previous_targets=["a/sonnet"], targets=["a/haiku"], evidence="12 of 20 attempts failed within 60 s",
        ),
    )  # fmt: skip
    back, drained = ledger.Alert(), ledger.Alert()
    for other in (back, drained):
        other.CopyFrom(left)
    back.lead_switch.direction, back.lead_switch.from_basis_points = LeadSwitch.DIRECTION_RETURNED, 7_500
    drained.lead_switch.reason, drained.lead_switch.evidence = LEAD_REASON_DRAINED, ""
    services.answers["LedgerService.ListAlerts"] = ledger.ListAlertsResponse(alerts=[left, back, drained])
    shown = {
        "kind": "switch", "model": "sonnet", "from_percent": 0.0, "direction": "left", "reason": "errors",
        "previous": ["a/sonnet"], "leads": ["a/haiku"], "evidence": "12 of 20 attempts failed within 60 s",
        "switched_at": "2027-01-15T08:00:00Z", "recipients": ["ds-lead"], "delivered_at": None,
    }  # fmt: skip
    assert cli.json("alerts", "list")["alerts"] == [
        shown,
        shown | {"direction": "returned", "from_percent": 75.0},
        shown | {"reason": "drained", "evidence": ""},
    ]
    _, listed, _ = cli.text("alerts", "list")
    assert "sonnet: a/haiku leads instead of a/sonnet: 12 of 20 attempts failed within 60 s" in listed
    assert "sonnet from 75% of the budget on: a/haiku leads again, after a/sonnet" in listed
    assert "sonnet: a/haiku leads instead of a/sonnet: an operator took it out" in listed
