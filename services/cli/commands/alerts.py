"""`spendgate alerts`: crossed thresholds, overrun limits, and calls without a price or with unknown members."""

from __future__ import annotations

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.chassis.enums import enum_names
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, fields_of
from services.cli.session import GatewayCommand, JsonOption, LimitOption
from services.cli.times import optional_rfc3339, readable_time, rfc3339
from services.kernel.money import format_usd

_KINDS = enum_names(ledger.AlertKind)


def build_alerts() -> typer.Typer:
    """Builds the group `alerts`."""
    group = typer.Typer(help="Thresholds that budgets crossed, and who was notified.", no_args_is_help=True)
    group.command("list", cls=GatewayCommand)(list_alerts)
    # With a single command Typer would turn the group into that command, but scripts call `alerts list`.
    group.callback()(_group)
    return group


def _group() -> None:
    """Thresholds that budgets crossed, and who was notified."""


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
        columns=("CROSSED (UTC)", "POLICY", "LIMIT", "SCOPE", "WHAT", "RECIPIENTS", "DELIVERED (UTC)"),
        row=_row,
        document=_as_json,
        empty="No alerts yet: one is listed here when a budget crosses a threshold of its policy, is overrun,"
        " or lets through a call without a price or with unknown members.",
    ).print(alerts, as_json=json)


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


def _what(alert: ledger.Alert) -> str:
    match alert.kind:
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
    """Formats a share as the configuration file does: "80%", "99.5%"."""
    whole, hundredths = divmod(basis_points, 100)
    fraction = f".{hundredths:02d}".rstrip("0") if hundredths else ""
    return f"{whole}{fraction}%"
