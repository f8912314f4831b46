"""`spendgate policies`: what each policy is worth as it stands."""

from __future__ import annotations

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.cli.paging import all_pages
from services.cli.printing import print_json, print_table, print_text
from services.cli.session import JsonOption, connect
from services.cli.times import readable_time, rfc3339

_STATES = {
    quota.PolicyStatus.STATE_ACTIVE: "active",
    quota.PolicyStatus.STATE_UNREACHABLE: "unreachable",
    quota.PolicyStatus.STATE_SHADOW: "shadow",
    quota.PolicyStatus.STATE_DISABLED: "disabled",
}


def policies(context: typer.Context, *, json: JsonOption = False) -> None:
    """Shows each policy: whether calls can reach it, how many matched since the start, and when the last did.

    Example: spendgate policies
    """
    with connect(context) as gateway:
        found = list(
            all_pages(
                lambda size, token: gateway.quota.ListQuotaPolicies(
                    quota.ListQuotaPoliciesRequest(page_size=size, page_token=token)
                ),
                lambda page: list(zip(page.quota_policies, page.statuses, strict=True)),
            )
        )
    if json:
        print_json({"policies": [_as_json(policy.name, status) for policy, status in found]})
    elif not found:
        print_text("No policies yet: write some into the configuration file and apply it.")
    else:
        rows = [_row(policy.name, status) for policy, status in found]
        print_table(("POLICY", "STATUS", "MATCHED", "LAST (UTC)"), rows, numeric=frozenset({"MATCHED"}))


def _as_json(name: str, status: quota.PolicyStatus) -> dict[str, object]:
    matched = status.HasField("last_matched_time")
    return {
        "policy": name,
        "status": _STATES.get(status.state, "unknown"),
        "matched_calls": status.matched_calls,
        "last_matched_time": rfc3339(status.last_matched_time) if matched else None,
    }


def _row(name: str, status: quota.PolicyStatus) -> tuple[str, ...]:
    matched = status.HasField("last_matched_time")
    last = readable_time(status.last_matched_time) if matched else "-"
    return name, _STATES.get(status.state, "?"), f"{status.matched_calls:,}", last
