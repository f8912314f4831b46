"""`spendgate budgets` and `explain`: the state of each limit, and its effect on a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.chassis.enums import enum_names
from services.cli.amounts import limit_amounts, readable_amount
from services.cli.connection import connect
from services.cli.limit_kinds import kind_name
from services.cli.paging import read_list
from services.cli.printing import print_json, print_table, print_text
from services.cli.session import JsonOption
from services.cli.times import optional_rfc3339, readable_time, rfc3339

_MODES = {quota.QuotaPolicy.MODE_UNSPECIFIED: "enforce", **enum_names(quota.QuotaPolicy.Mode)}
_BOUNDS = {quota.Limit.BOUND_UNSPECIFIED: "hard", **enum_names(quota.Limit.Bound)}
_DECISIONS = enum_names(quota.ExplainResponse.Decision)
_FULL_BASIS_POINTS = 10_000


def budgets(
    context: typer.Context,
    *,
    policy: Annotated[str, typer.Option(help="Only the limits of this policy.")] = "",
    json: JsonOption = False,
) -> None:
    """Shows each limit in its current window: used, held by calls in flight, in doubt, and left.

    Example: spendgate budgets --policy data-science-prod
    """
    with connect(context) as gateway:
        request = quota.ListBudgetsRequest(policy=policy)
        found = read_list(gateway.quota.ListBudgets, request, lambda page: page.budgets)
    if json:
        print_json({"budgets": [budget_as_json(budget) for budget in found]})
    elif not found:
        print_text("No budgets yet: a limit shows up here once a policy with limits is applied.")
    else:
        print_budgets(found)


def explain(
    context: typer.Context,
    *,
    key: Annotated[str, typer.Option(help="Name of a key.")],
    model: Annotated[str, typer.Option(help="Model as an application would ask for it.")],
    input_tokens: Annotated[int, typer.Option(min=0, help="Input tokens of the assumed call. 0: 1000.")] = 0,
    max_output_tokens: Annotated[int, typer.Option(min=0, help="Output tokens of the assumed call. 0: 1000.")] = 0,
    needs: Annotated[str, typer.Option(metavar="FEATURE,...", help="What it needs: tools, images, audio ...")] = "",
    json: JsonOption = False,
) -> None:
    """Shows what would happen to a call now, and why. Reserves nothing.

    Example: spendgate explain --key data-science-prod --model gpt-4o
    """
    request = quota.ExplainRequest(
        key=key,
        model=model,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        features=[each.strip() for each in needs.split(",") if each.strip()],
    )
    with connect(context) as gateway:
        answer = gateway.quota.Explain(request)
    decision = _DECISIONS.get(answer.decision, "unknown")
    if json:
        print_json(
            {
                "decision": decision,
                "reason": answer.reason,
                "target": answer.target or None,
                "policies": [_applied_as_json(applied) for applied in answer.limits],
                "others": [{"policy": other.policy, "reason": other.reason} for other in answer.others],
                "on_store_failure": answer.on_store_failure,
                "on_unknown_members": answer.on_unknown_members,
                "on_unmeasured": answer.on_unmeasured,
            }
        )
        return
    print_text(f"{decision}{f' -> {answer.target}' if answer.target else ''}: {answer.reason}")
    if answer.limits:
        doubt = ("DOUBT",) if any(applied.doubt for applied in answer.limits) else ()
        rows = [
            (
                applied.policy,
                kind_name(applied.limit_kind),
                _percent(applied.used_basis_points),
                *(readable_amount(applied.limit_kind, applied.doubt) for _ in doubt),
                readable_amount(applied.limit_kind, applied.limit),
                readable_time(applied.override_expire_time),
                "decides" if applied.binding else "",
            )
            for applied in answer.limits
        ]
        columns = ("POLICY", "LIMIT", "USED", *doubt, "OF", "OVERRIDE UNTIL", "")
        print_table(columns, rows, numeric=frozenset({"USED", "DOUBT", "OF"}))
    print_text(answer.on_store_failure)
    print_text(answer.on_unknown_members)
    print_text(answer.on_unmeasured)


def print_budgets(found: Sequence[quota.Budget]) -> None:
    """Prints limits as a table, in the order given."""
    doubt = ("DOUBT",) if any(budget.doubt for budget in found) else ()
    amounts = ("USED", "HELD", *doubt, "LEFT", "OF", "%")
    columns = ("POLICY", "LIMIT", "SCOPE", *amounts, "RESETS (UTC)", "MODE", "OVERRIDE UNTIL")
    rows = [_row(budget, with_doubt=bool(doubt)) for budget in found]
    print_table(columns, rows, numeric=frozenset(amounts))
    if doubt:
        print_text("In doubt is what calls that were cut off may have taken: `spendgate doubt list` shows which.")


def budget_as_json(budget: quota.Budget) -> dict[str, object]:
    """Follows the JSON contract: money as decimal strings under `_usd`, everything else as integers."""
    amounts = {
        "limit": budget.limit,
        "settled": budget.settled,
        "reserved": budget.reserved,
        "doubt": budget.doubt,
        "remaining": _remaining(budget),
    }
    return {
        "policy": budget.policy,
        "limit_kind": kind_name(budget.limit_kind, "unknown"),
        "limit_id": budget.limit_id,
        "scope": budget.scope,
        "mode": _MODES.get(budget.mode, "unknown"),
        "window_start": rfc3339(budget.window_start_time),
        "resets_at": rfc3339(budget.reset_time),
        **limit_amounts(budget.limit_kind, **amounts),
        "override": {"name": budget.override, "until": rfc3339(budget.override_expire_time)}
        if budget.override
        else None,
    }


def _remaining(budget: quota.Budget) -> int:
    """Returns what is left. A policy that only counts can exceed its limit, and then nothing is left."""
    return max(0, budget.limit - _gone(budget))


def _gone(budget: quota.Budget) -> int:
    """Returns what is used, held or in doubt."""
    return budget.settled + budget.reserved + budget.doubt


def _row(budget: quota.Budget, *, with_doubt: bool) -> tuple[str, ...]:
    doubt = (budget.doubt,) if with_doubt else ()
    amounts = (budget.settled, budget.reserved, *doubt, _remaining(budget), budget.limit)
    basis_points = _gone(budget) * _FULL_BASIS_POINTS // budget.limit if budget.limit else _FULL_BASIS_POINTS
    return (
        budget.policy,
        kind_name(budget.limit_kind),
        budget.scope,
        *(readable_amount(budget.limit_kind, amount) for amount in amounts),
        _percent(basis_points),
        readable_time(budget.reset_time),
        _MODES.get(budget.mode, "?"),
        readable_time(budget.override_expire_time),
    )


def _applied_as_json(applied: quota.ExplainResponse.AppliedLimit) -> dict[str, object]:
    return {
        "policy": applied.policy,
        "limit_kind": kind_name(applied.limit_kind, "unknown"),
        **limit_amounts(applied.limit_kind, limit=applied.limit, doubt=applied.doubt),
        "used_ratio": applied.used_basis_points / _FULL_BASIS_POINTS,
        "override_until": optional_rfc3339(applied, "override_expire_time"),
        "binding": applied.binding,
        "bound": _BOUNDS.get(applied.bound, "unknown"),
    }


def _percent(basis_points: int) -> str:
    return f"{basis_points // 100}.{basis_points % 100 // 10}%"
