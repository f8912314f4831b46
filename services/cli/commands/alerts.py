"""`spendgate alerts`: crossed thresholds, overrun limits, calls without a price or with unknown members, switches."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.ledger.v1.switch_service_pb2 import LeadSwitch
from spendgate.type.v1 import lead_reason_pb2

from services.chassis.enums import enum_names
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, fields_of, print_result
from services.cli.session import GatewayCommand, JsonOption, LimitOption
from services.cli.times import optional_rfc3339, readable_time, rfc3339
from services.kernel.money import format_usd
from services.kernel.settlement import format_percent

_KINDS = enum_names(ledger.AlertKind)
_STATES = enum_names(ledger.Delivery.State)
_SOURCES = enum_names(ledger.Delivery.Source)
_DIRECTIONS = enum_names(LeadSwitch.Direction)
_REASONS = enum_names(lead_reason_pb2.LeadReason)
_WHY = {
    lead_reason_pb2.LEAD_REASON_ERRORS: "attempts at it fail",
    lead_reason_pb2.LEAD_REASON_LATENCY: "attempts at it take too long",
    lead_reason_pb2.LEAD_REASON_RETRY_AFTER: "its provider asked to stay away for a while",
    lead_reason_pb2.LEAD_REASON_DRAINED: "an operator took it out",
}


def build_alerts() -> typer.Typer:
    """Builds the group `alerts`."""
    group = typer.Typer(
        help="Thresholds that budgets crossed, switches of who leads a model, and who is to be told.",
        no_args_is_help=True,
    )
    group.command("list", cls=GatewayCommand)(list_alerts)
    group.command("deliveries", cls=GatewayCommand)(list_deliveries)
    group.command("retry", cls=GatewayCommand)(retry)
    return group


def list_alerts(
    context: typer.Context,
    *,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Lists alerts, newest first.

    Example: spendgate alerts list --json
    """
    with connect(context) as gateway:
        alerts = read_list(gateway.ledger.ListAlerts, ledger.ListAlertsRequest(), lambda page: page.alerts, limit)
    Listing(
        "alerts",
        columns=("HAPPENED (UTC)", "POLICY", "LIMIT", "SCOPE", "WHAT", "RECIPIENTS", "DELIVERED (UTC)"),
        row=_row,
        document=_as_json,
        empty="No alerts yet: one is listed here when a budget crosses a threshold of its policy, is overrun,"
        " or lets through a call without a price or with unknown members, and when another target leads a model.",
    ).print(alerts, as_json=json)


def list_deliveries(
    context: typer.Context,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were given up.")] = False,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Lists what became of alerts on their way to channels, newest first.

    Example: spendgate alerts deliveries --failed
    """
    request = ledger.ListDeliveriesRequest(failed_only=failed)
    with connect(context) as gateway:
        found = read_list(gateway.ledger.ListDeliveries, request, lambda page: page.deliveries, limit)
    Listing(
        "deliveries",
        columns=("ID", "FOUND (UTC)", "CHANNEL", "STATE", "ATTEMPTS", "NEXT OR ENDED (UTC)", "PROBLEM"),
        row=_delivery_row,
        document=_delivery_as_json,
        empty="No delivery was given up." if failed else "No deliveries yet: there is one for each alert and channel.",
    ).print(found, as_json=json)


def retry(
    context: typer.Context,
    delivery: Annotated[str, typer.Argument(help="Id of the delivery, as `alerts deliveries` shows it.")],
    *,
    json: JsonOption = False,
) -> None:
    """Lets a delivery that was given up begin anew. One that waits is tried at once.

    Example: spendgate alerts retry msg_4f1d2c3b4a5968778695a4b3
    """
    with connect(context) as gateway:
        now = gateway.ledger.RetryDelivery(ledger.RetryDeliveryRequest(id=delivery)).delivery
    said = f"{now.id} to {now.channel}: {_STATES.get(now.state, 'unknown')}"
    print_result(_delivery_as_json(now), said, as_json=json)


def _delivery_row(delivery: ledger.Delivery) -> tuple[str, ...]:
    moment = delivery.due_time if delivery.HasField("due_time") else delivery.end_time
    return (
        delivery.id,
        readable_time(delivery.create_time),
        delivery.channel,
        _STATES.get(delivery.state, "unknown"),
        str(delivery.attempts),
        readable_time(moment),
        delivery.problem,
    )


def _delivery_as_json(delivery: ledger.Delivery) -> dict[str, object]:
    return {
        **fields_of(delivery, "id", "channel", "attempts", "problem"),
        "state": _STATES.get(delivery.state),
        "source": _SOURCES.get(delivery.source),
        "alert": delivery.alert,
        "found_at": rfc3339(delivery.create_time),
        "next_attempt_at": optional_rfc3339(delivery, "due_time"),
        "ended_at": optional_rfc3339(delivery, "end_time"),
    }


def _row(alert: ledger.Alert) -> tuple[str, ...]:
    return (
        readable_time(alert.cross_time),
        alert.policy,
        alert.limit,
        alert.scope,
        _what(alert),
        ", ".join(alert.recipients),
        readable_time(alert.deliver_time) or "not yet",
    )


def _as_json(alert: ledger.Alert) -> dict[str, object]:
    kind = _KINDS.get(alert.kind, "threshold")
    if kind == "switch":
        return _switch_as_json(alert)
    excess: dict[str, object] = {}
    if kind == "overrun":
        excess = {"excess_usd": format_usd(alert.excess)} if _is_money(alert) else {"excess": alert.excess}
    return {
        "kind": kind,
        **fields_of(alert, "policy", "limit", "scope"),
        "threshold": _percent(alert.basis_points) if kind == "threshold" else None,
        **excess,
        "window_start": rfc3339(alert.window_start_time),
        "crossed_at": rfc3339(alert.cross_time),
        **fields_of(alert, "call", "target", "key", "team"),
        "unknown_members": list(alert.unknown_members),
        **fields_of(alert, "trace_id", "run"),
        "recipients": list(alert.recipients),
        "delivered_at": optional_rfc3339(alert, "deliver_time"),
    }


def _switch_as_json(alert: ledger.Alert) -> dict[str, object]:
    switch = alert.lead_switch
    return {
        "kind": "switch",
        "model": switch.model,
        "from_percent": switch.from_basis_points / 100,
        "direction": _DIRECTIONS.get(switch.direction),
        "reason": _REASONS.get(switch.reason),
        "previous": list(switch.previous_targets),
        "leads": list(switch.targets),
        "evidence": switch.evidence,
        "switched_at": rfc3339(alert.cross_time),
        "recipients": list(alert.recipients),
        "delivered_at": optional_rfc3339(alert, "deliver_time"),
    }


def _switch_text(switch: LeadSwitch) -> str:
    leads, before = " | ".join(switch.targets), " | ".join(switch.previous_targets)
    tier = f" from {switch.from_basis_points / 100:g}% of the budget on" if switch.from_basis_points else ""
    if switch.direction == LeadSwitch.DIRECTION_RETURNED:
        return f"{switch.model}{tier}: {leads} leads again, after {before}"
    why = switch.evidence or _WHY.get(switch.reason, _REASONS.get(switch.reason, "for a reason of a later release"))
    return f"{switch.model}{tier}: {leads} leads instead of {before}: {why}"


def _what(alert: ledger.Alert) -> str:
    match alert.kind:
        case ledger.ALERT_KIND_SWITCH:
            return _switch_text(alert.lead_switch)
        case ledger.ALERT_KIND_OVERRUN:
            return f"overrun by {f'${format_usd(alert.excess)}' if _is_money(alert) else alert.excess}"
        case ledger.ALERT_KIND_UNPRICED:
            return f"no price of {alert.target}, call of key {alert.key}"
        case ledger.ALERT_KIND_UNKNOWN_MEMBERS:
            return (
                f"nobody knows {', '.join(alert.unknown_members)}, call of key {alert.key}: it held the context window"
                f" of {alert.target}. `unknown_members: refuse` on {alert.policy} stops such calls"
            )
        case _:
            return _percent(alert.basis_points)


def _is_money(alert: ledger.Alert) -> bool:
    return alert.limit.startswith("spend")


def _percent(basis_points: int) -> str:
    return f"{format_percent(basis_points)}%"
