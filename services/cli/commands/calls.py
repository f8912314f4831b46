"""`spendgate calls`: single calls, as booked in the ledger."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.type.v1 import dialect_pb2, lead_reason_pb2

from services.chassis.enums import enum_names
from services.chassis.well_known import nano_usd_of
from services.cli.amounts import readable_usd, usd_of
from services.cli.connection import connect
from services.cli.gateway import Gateway
from services.cli.paging import read_list
from services.cli.printing import Listing, fields_of, print_json, print_json_line, print_table, print_text
from services.cli.session import GatewayCommand, JsonOption, LimitOption
from services.cli.times import readable_time, rfc3339

_MAX_LIMIT = 100_000
_OUTCOMES = enum_names(ledger.Call.Outcome)
_DECISIONS = enum_names(ledger.Call.Decision)
_DOWNGRADES = enum_names(lead_reason_pb2.LeadReason)
_WHY_DOWNGRADED = {
    lead_reason_pb2.LEAD_REASON_BUDGET: "budget: so much of the budget was used that a cheaper target leads",
    lead_reason_pb2.LEAD_REASON_ERRORS: "errors: attempts at the target that leads otherwise had failed",
    lead_reason_pb2.LEAD_REASON_LATENCY: "latency: attempts at the target that leads otherwise took too long",
    lead_reason_pb2.LEAD_REASON_UNPRICED: "unpriced: the target that leads otherwise has no price for such a call",
    lead_reason_pb2.LEAD_REASON_UNFIT: "unfit: the target that leads otherwise cannot carry such a call",
}
_SOURCES = enum_names(ledger.UsageSource)
_FAILURES = enum_names(ledger.Attempt.Failure)
_DIALECTS = enum_names(dialect_pb2.Dialect)

WhereOption = Annotated[
    str, typer.Option(metavar="FIELD=VALUE,...", help="Only calls with these values, e.g. team=ds,status=200.")
]


def build_calls() -> typer.Typer:
    """Builds the group `calls`."""
    group = typer.Typer(help="Single calls: who, what, which attempts, at what cost.", no_args_is_help=True)
    group.command("list", cls=GatewayCommand)(list_calls)
    group.command(cls=GatewayCommand)(show)
    group.command(cls=GatewayCommand)(tail)
    return group


def list_calls(
    context: typer.Context,
    *,
    limit: LimitOption = 20,
    where: WhereOption = "",
    json: JsonOption = False,
) -> None:
    """Lists calls, newest first.

    Example: spendgate calls list --limit 50 --where team=data-science
    """
    with connect(context) as gateway:
        calls = fetch_calls(gateway, limit, where)
    Listing(
        "calls",
        columns=_COLUMNS,
        row=_row,
        document=call_as_json,
        empty="No calls yet: point an SDK's base_url at the gateway, and its api_key at a virtual key.",
        numeric=_NUMERIC,
    ).print(calls, as_json=json)


def show(
    context: typer.Context,
    call_id: Annotated[str, typer.Argument(metavar="ID", help="Id or x-request-id of the call.")],
    *,
    json: JsonOption = False,
) -> None:
    """Shows one call with its attempts.

    Example: spendgate calls show rsv_019a2c40d2a39f8e7c6b5a4d3c2b1a09
    """
    with connect(context) as gateway:
        call = gateway.ledger.GetCall(ledger.GetCallRequest(id=call_id)).call
    document = call_as_json(call)
    if json:
        print_json(document)
        return
    document.pop("attempts")
    document |= {name: ", ".join(getattr(call, name)) for name in ("unknown_members", "price_options", "left_out")}
    document["downgraded"] = _why_downgraded(call)
    print_table(("FIELD", "VALUE"), [(name, "" if value is None else value) for name, value in document.items()])
    if call.attempts:
        print_text("")
        rows = [
            (
                number,
                attempt.target,
                attempt.status or _FAILURES.get(attempt.failure, ""),
                f"{attempt.latency.ToMilliseconds()} ms",
                readable_usd(nano_usd_of(attempt.cost)) if attempt.HasField("cost") else "unknown",
            )
            for number, attempt in enumerate(call.attempts, start=1)
        ]
        print_table(("ATTEMPT", "TARGET", "STATUS", "LATENCY", "COST"), rows)


def tail(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=0, max=_MAX_LIMIT, help="Stop after this many calls. 0: go on.")] = 0,
    where: WhereOption = "",
    json: JsonOption = False,
) -> None:
    """Shows calls as they are booked, until Ctrl-C or --limit.

    With --json and --limit it prints one document at the end. With --json alone it prints one line for each call.

    Example: spendgate calls tail --where environment=prod
    """
    seen: list[dict[str, object]] = []
    with connect(context) as gateway:
        answers = gateway.ledger.TailCalls(ledger.TailCallsRequest(filter=where))
        for number, call in enumerate((answer.call for answer in answers), start=1):
            if not json:
                print_text("  ".join(_row(call)))
            elif limit:
                seen.append(call_as_json(call))
            else:
                print_json_line(call_as_json(call))
            if number == limit:
                break
    if json and limit:
        print_json({"calls": seen})


def fetch_calls(gateway: Gateway, limit: int, where: str = "") -> list[ledger.Call]:
    """Returns the newest calls, at most `limit`."""
    return read_list(gateway.ledger.ListCalls, ledger.ListCallsRequest(filter=where), lambda page: page.calls, limit)


def call_as_json(call: ledger.Call) -> dict[str, object]:
    """Follows the JSON contract and adds to it. Unknown costs are null."""
    return {
        "id": call.id,
        "time": rfc3339(call.start_time),
        **fields_of(call.attribution, "key", "key_id", "team", "project", "environment", "user"),
        **fields_of(call, "model_requested", "model_served", "status"),
        "outcome": _OUTCOMES.get(call.outcome),
        "decision": _DECISIONS.get(call.decision, ""),
        "downgraded": _DOWNGRADES.get(call.downgraded),
        "usage_source": _SOURCES.get(call.usage_source, ""),
        **fields_of(call, "input_tokens", "cached_input_tokens", "cache_write_input_tokens"),
        **fields_of(call, "output_tokens", "reasoning_tokens"),
        "cost_usd": usd_of(call.cost) if call.HasField("cost") else None,
        "latency_ms": call.latency.ToMilliseconds(),
        "first_byte_ms": call.first_byte_latency.ToMilliseconds(),
        "dialect": _DIALECTS.get(call.dialect, ""),
        "operation": call.operation or None,
        "stream": call.stream,
        "tags": dict(call.tags),
        **fields_of(call, "request_id", "trace_id"),
        "retry_of": call.retry_of or None,
        **fields_of(call, "retry_count", "retries"),
        "unknown_members": list(call.unknown_members),
        "price_options": list(call.price_options),
        "left_out": [_left_out(each) for each in call.left_out],
        "attempts": [
            {
                "target": attempt.target,
                "status": attempt.status,
                "latency_ms": attempt.latency.ToMilliseconds(),
                "cost_usd": usd_of(attempt.cost) if attempt.HasField("cost") else None,
                "failure": _FAILURES.get(attempt.failure),
            }
            for attempt in call.attempts
        ],
    }


def _left_out(text: str) -> dict[str, object]:
    # Names of models may contain "=", names of features may not.
    target, _, lacks = text.rpartition("=")
    return {"target": target, "lacks": lacks.split("+")} if target else {"target": text, "lacks": []}


def _why_downgraded(call: ledger.Call) -> str:
    if call.decision != ledger.Call.DECISION_DOWNGRADE:
        return "no"
    return _WHY_DOWNGRADED.get(call.downgraded, "yes: an earlier release booked the call and did not record why")


_COLUMNS = (
    "TIME (UTC)",
    "KEY",
    "TEAM",
    "ENVIRONMENT",
    "OPERATION",
    "MODEL",
    "SERVED BY",
    "STATUS",
    "IN",
    "OUT",
    "COST",
    "ID",
)
_NUMERIC = frozenset({"STATUS", "IN", "OUT", "COST"})


def _row(call: ledger.Call) -> tuple[str, ...]:
    return (
        readable_time(call.start_time),
        call.attribution.key,
        call.attribution.team,
        call.attribution.environment,
        call.operation or "-",
        call.model_requested,
        call.model_served or "-",
        str(call.status),
        f"{call.input_tokens:,}",
        f"{call.output_tokens:,}",
        readable_usd(nano_usd_of(call.cost)) if call.HasField("cost") else "unknown",
        call.id,
    )
