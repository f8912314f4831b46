"""`spendgate adjustments`: counters that were corrected to match the ledger."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.chassis.enums import enum_names
from services.cli.amounts import limit_amounts, readable_amount
from services.cli.connection import connect
from services.cli.limit_kinds import kind_name
from services.cli.paging import read_list
from services.cli.printing import Listing
from services.cli.session import JsonOption
from services.cli.times import readable_time, rfc3339

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 10_000
_REASONS = enum_names(quota.Adjustment.Reason)


def adjustments(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_LIMIT, help="How many at most.")] = _DEFAULT_LIMIT,
    json: JsonOption = False,
) -> None:
    """Lists counters that were corrected to match the ledger, and why, newest first.

    Example: spendgate adjustments --json
    """
    with connect(context) as gateway:
        request = quota.ListAdjustmentsRequest()
        found = read_list(gateway.quota.ListAdjustments, request, lambda page: page.adjustments, limit)
    Listing(
        "adjustments",
        columns=("TIME (UTC)", "POLICY", "LIMIT", "SCOPE", "WINDOW (UTC)", "BEFORE", "AFTER", "REASON"),
        row=_row,
        document=_as_json,
        empty="No adjustments: every counter was what the ledger says whenever they were compared.",
        numeric=frozenset({"BEFORE", "AFTER"}),
    ).print(found, as_json=json)


def _as_json(adjustment: quota.Adjustment) -> dict[str, object]:
    kind, before, after = adjustment.limit_kind, adjustment.settled_before, adjustment.settled_after
    return {
        "policy": adjustment.policy,
        "limit_kind": kind_name(kind, "unknown"),
        "limit": adjustment.limit_id,
        "scope": adjustment.scope,
        "window_start": rfc3339(adjustment.window_start_time),
        **limit_amounts(kind, settled_before=before, settled_after=after),
        "reason": _REASONS.get(adjustment.reason, "unknown"),
        "adjusted_at": rfc3339(adjustment.adjust_time),
    }


def _row(adjustment: quota.Adjustment) -> tuple[str, ...]:
    return (
        readable_time(adjustment.adjust_time),
        adjustment.policy,
        adjustment.limit_id,
        adjustment.scope,
        readable_time(adjustment.window_start_time),
        readable_amount(adjustment.limit_kind, adjustment.settled_before),
        readable_amount(adjustment.limit_kind, adjustment.settled_after),
        _REASONS.get(adjustment.reason, "?"),
    )
