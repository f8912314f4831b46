"""The documents of `spendgate calls`."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.type.v1 import lead_reason_pb2
from spendgate.type.v1.attribution_pb2 import Attribution
from spendgate.type.v1.dialect_pb2 import DIALECT_OPENAI

from services.chassis.well_known import duration
from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import StandIn

WHO = Attribution(key_id="key_1", key="app", team="ds", project="p", environment="prod", user="ada@example.com")


def _time(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


def _usd(units: int, nanos: int = 0) -> Money:
    return Money(currency_code="USD", units=units, nanos=nanos)


CALL = ledger.Call(
    id="rsv_1", start_time=_time(1_800_000_000, 123_000_000), attribution=WHO, model_requested="gpt",
    model_served="openai/gpt-4o", status=200, usage_source=ledger.USAGE_SOURCE_PROVIDER, input_tokens=10,
    cached_input_tokens=4, outcome=ledger.Call.OUTCOME_COMPLETED, output_tokens=5, cost=_usd(0, 75_000),
    trace_id="0" * 31 + "1", request_id="r-1",
    latency=duration(900), first_byte_latency=duration(300), decision=ledger.Call.DECISION_ALLOW,
    dialect=DIALECT_OPENAI, operation="embeddings", stream=True, tags={"feature": "chat"},
    retry_of="rsv_0", retry_count=2, unknown_members=["frobnicate", "+3"], price_options=["service_tier=priority"],
    left_out=["lab/a=b=images+tools"],
    attempts=[
        ledger.Attempt(target="azure/gpt-4o", status=0, latency=duration(20), failure=ledger.Attempt.FAILURE_REFUSED),
        ledger.Attempt(target="openai/gpt-4o", status=200, latency=duration(880), cost=_usd(0, 75_000)),
    ],
)  # fmt: skip
CALL_JSON = {
    "id": "rsv_1", "time": "2027-01-15T08:00:00.123Z", "key": "app", "key_id": "key_1", "team": "ds", "project": "p",
    "environment": "prod", "user": "ada@example.com", "model_requested": "gpt", "model_served": "openai/gpt-4o",
    "status": 200, "outcome": "completed", "decision": "allow", "downgraded": None, "usage_source": "provider",
    "input_tokens": 10,
    "cached_input_tokens": 4, "cache_write_input_tokens": 0, "output_tokens": 5, "reasoning_tokens": 0,
    "cost_usd": "0.000075000", "latency_ms": 900, "first_byte_ms": 300, "dialect": "openai", "operation": "embeddings",
    "stream": True, "tags": {"feature": "chat"}, "request_id": "r-1", "trace_id": "00000000000000000000000000000001",
    "retry_of": "rsv_0", "retry_count": 2, "retries": 0,
    "unknown_members": ["frobnicate", "+3"], "price_options": ["service_tier=priority"],
    "left_out": [{"target": "lab/a=b", "lacks": ["images", "tools"]}],
    "attempts": [
        {"target": "azure/gpt-4o", "status": 0, "latency_ms": 20, "cost_usd": None, "failure": "refused"},
        {"target": "openai/gpt-4o", "status": 200, "latency_ms": 880, "cost_usd": "0.000075000", "failure": None},
    ],
}  # fmt: skip


def test_calls_carry_who_what_and_every_attempt(services: StandIn, cli: Cli) -> None:
    services.answers["LedgerService.ListCalls"] = ledger.ListCallsResponse(calls=[CALL])
    services.answers["LedgerService.GetCall"] = ledger.GetCallResponse(call=CALL)
    services.answers["LedgerService.TailCalls"] = [[ledger.TailCallsResponse(call=CALL)] * 3]
    assert cli.json("calls", "list", "--limit", "5") == {"calls": [CALL_JSON]}
    assert cli.json("calls", "show", "rsv_1") == CALL_JSON
    assert cli.json("calls", "tail", "--limit", "2") == {"calls": [CALL_JSON, CALL_JSON]}


def test_what_nobody_knew_of_a_call_is_shown_in_words(services: StandIn, cli: Cli) -> None:
    services.answers["LedgerService.GetCall"] = ledger.GetCallResponse(call=CALL)
    code, shown, _ = cli.text("calls", "show", "rsv_1")
    assert code == 0
    assert "frobnicate, +3" in shown
    assert "service_tier=priority" in shown


def test_a_call_says_in_words_why_another_target_led(services: StandIn, cli: Cli) -> None:
    why = {
        lead_reason_pb2.LEAD_REASON_BUDGET: "so much of the budget was used",
        lead_reason_pb2.LEAD_REASON_ERRORS: "had failed",
        lead_reason_pb2.LEAD_REASON_LATENCY: "took too long",
        lead_reason_pb2.LEAD_REASON_UNPRICED: "has no price for such a call",
        lead_reason_pb2.LEAD_REASON_UNFIT: "cannot carry such a call",
        lead_reason_pb2.LEAD_REASON_UNSPECIFIED: "an earlier release booked the call",
    }
    for reason, words in why.items():
        downgraded = ledger.Call()
        downgraded.CopyFrom(CALL)
        downgraded.decision, downgraded.downgraded = ledger.Call.DECISION_DOWNGRADE, reason
        services.answers["LedgerService.GetCall"] = ledger.GetCallResponse(call=downgraded)
        assert words in cli.text("calls", "show", "rsv_1")[1]
    downgraded.downgraded = lead_reason_pb2.LEAD_REASON_BUDGET
    services.answers["LedgerService.GetCall"] = ledger.GetCallResponse(call=downgraded)
    assert cli.json("calls", "show", "rsv_1") == CALL_JSON | {"decision": "downgrade", "downgraded": "budget"}


def test_a_cost_that_is_unknown_is_null_and_not_zero(services: StandIn, cli: Cli) -> None:
    services.answers["LedgerService.GetCall"] = ledger.GetCallResponse(
        call=ledger.Call(id="rsv_2", start_time=_time(1_800_000_000))
    )
    assert cli.json("calls", "show", "rsv_2")["cost_usd"] is None


def test_a_limit_on_calls_holds_over_pages(services: StandIn, cli: Cli) -> None:
    services.answers["LedgerService.ListCalls"] = [
        ledger.ListCallsResponse(calls=[CALL] * 3, next_page_token="more"),
        ledger.ListCallsResponse(calls=[CALL] * 3, next_page_token="even more"),
    ]
    assert len(cli.json("calls", "list", "--limit", "4")["calls"]) == 4
    assert [request.page_size for _, request in services.requests] == [4, 1]
