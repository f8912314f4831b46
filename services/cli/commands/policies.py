"""`spendgate policies`: the effect of each policy."""

from __future__ import annotations

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.chassis.enums import enum_names
from services.chassis.well_known import nano_usd_of
from services.cli.amounts import readable_usd
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing
from services.cli.session import JsonOption
from services.cli.times import readable_time, rfc3339
from services.kernel.money import format_usd

_STATES = enum_names(quota.PolicyStatus.State)


def policies(context: typer.Context, *, json: JsonOption = False) -> None:
    """Shows each policy: whether calls can reach it, how many matched since the start, and when the last did.

    Example: spendgate policies
    """
    with connect(context) as gateway:
        request = quota.ListQuotaPoliciesRequest()
        found = read_list(gateway.quota.ListQuotaPolicies, request, lambda page: page.quota_policies)
    Listing(
        "policies",
        columns=("POLICY", "STATUS", "MATCHED", "LAST (UTC)", "ON STORE FAILURE", "UNMEASURED", "UNKNOWN MEMBERS"),
        row=_row,
        document=_as_json,
        empty="No policies yet: write some into the configuration file and apply it.",
        numeric=frozenset({"MATCHED"}),
    ).print(found, as_json=json)


def _as_json(policy: quota.QuotaPolicy) -> dict[str, object]:
    status = policy.status
    matched = status.HasField("last_matched_time")
    return {
        "policy": policy.name,
        "status": _STATES.get(status.state, "unknown"),
        "matched_calls": status.matched_calls,
        "last_matched_time": rfc3339(status.last_matched_time) if matched else None,
        "on_store_failure": _on_store_failure_as_json(policy),
        "unmeasured": _unmeasured(policy),
        "unknown_members": _unknown_members(policy),
    }


def _on_store_failure_as_json(policy: quota.QuotaPolicy) -> object:
    """Writes it as the configuration file does."""
    nano_usd = nano_usd_of(policy.store_failure_allowance)
    return {"serve_up_to_usd": format_usd(nano_usd)} if nano_usd else "deny"


def _unmeasured(policy: quota.QuotaPolicy) -> str:
    """Writes it as the configuration file does."""
    return "estimate" if policy.estimates_unmeasured else "reserve"


def _unknown_members(policy: quota.QuotaPolicy) -> str:
    """Writes it as the configuration file does."""
    return "refuse" if policy.refuses_unknown_members else "hold"


def _row(policy: quota.QuotaPolicy) -> tuple[str, ...]:
    status = policy.status
    matched = status.HasField("last_matched_time")
    last = readable_time(status.last_matched_time) if matched else "-"
    nano_usd = nano_usd_of(policy.store_failure_allowance)
    on_store_failure = f"serve up to {readable_usd(nano_usd)} a day" if nano_usd else "deny"
    state, matched_calls = _STATES.get(status.state, "?"), f"{status.matched_calls:,}"
    return policy.name, state, matched_calls, last, on_store_failure, _unmeasured(policy), _unknown_members(policy)
