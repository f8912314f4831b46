"""`spendgate keys limits`: every limit that binds a key."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota

from services.cli.commands.budgets import budget_as_json, print_budgets
from services.cli.connection import connect
from services.cli.printing import print_json, print_text
from services.cli.session import JsonOption


def limits(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")],
    *,
    model: Annotated[str, typer.Option(help="Only calls for this model. Default: all that it may use.")] = "",
    json: JsonOption = False,
) -> None:
    """Shows all limits that bind a key, including those of its team and organisation, tightest first.

    Example: spendgate keys limits ci --model gpt-4o
    """
    request = quota.GetEffectiveLimitsRequest(key=name, model=model)
    with connect(context) as gateway:
        found = gateway.quota.GetEffectiveLimits(request).limits
    if json:
        print_json({"key": name, "limits": [budget_as_json(budget) for budget in found]})
    elif not found:
        print_text(f"No limit binds key {name}: no policy matches it.")
    else:
        print_budgets(found)
