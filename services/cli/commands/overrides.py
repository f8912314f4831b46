"""`spendgate overrides`: bounds that replace a limit's own for a while."""

from __future__ import annotations

from typing import Annotated

import typer
from google.type.money_pb2 import Money
from spendgate.quota.v1 import override_service_pb2 as overrides

from services.chassis.well_known import nano_usd_of, usd
from services.cli.amounts import readable_usd, usd_of
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, fields_of, print_result
from services.cli.problems import Misuse
from services.cli.session import GatewayCommand, JsonOption, ReasonOption, session_of
from services.cli.times import parse_until, readable_time, rfc3339
from services.kernel.money import parse_usd


def build_overrides() -> typer.Typer:
    """Builds the group `overrides`."""
    group = typer.Typer(help="Raise or lower a limit for a while. Overrides end by themselves.", no_args_is_help=True)
    group.command(cls=GatewayCommand)(grant)
    group.command("list", cls=GatewayCommand)(list_overrides)
    group.command(cls=GatewayCommand)(revoke)
    return group


def grant(
    context: typer.Context,
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Name of the policy.")],
    *,
    until: Annotated[
        str, typer.Option(metavar="WHEN", help="When it ends: 2d, or 2027-01-31T00:00:00Z; at most 31 days ahead.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why. Everybody who sees the override sees it.")],
    amount: Annotated[str, typer.Option("--usd", metavar="DOLLARS", help="New bound of a limit on money.")] = "",
    count: Annotated[int | None, typer.Option(min=0, help="New bound of any other limit.")] = None,
    limit: Annotated[
        str, typer.Option(metavar="LIMIT", help="Which limit, such as spend/month. Needed if the policy has several.")
    ] = "",
    scope: Annotated[str, typer.Option(help="Which counter, as `budgets` shows it, if the policy has `each`.")] = "",
    json: JsonOption = False,
) -> None:
    """Replaces a limit's bound with another, at once, until a given time.

    A team admin may go up to the limit of its whole team.

    Example: spendgate overrides grant ds-prod --limit spend/month --usd 3000 --until 2d --reason "launch week"
    """
    if bool(amount) == (count is not None):
        raise Misuse("write either --usd DOLLARS or --count N")
    asked = overrides.Override(policy=policy, limit_id=limit, scope=scope, count=count or 0, reason=reason)
    if amount:
        asked.amount.CopyFrom(_read_amount(amount))
    asked.expire_time.CopyFrom(parse_until("--until", until, session_of(context).clock))
    with connect(context) as gateway:
        made = gateway.overrides.GrantOverride(overrides.GrantOverrideRequest(override=asked)).override
    until_utc = readable_time(made.expire_time)
    text = f"{made.limit_id} of policy {made.policy} is {_readable_bound(made)} until {until_utc} UTC: {made.name}"
    print_result(_as_json(made), text, as_json=json)


def list_overrides(context: typer.Context, *, json: JsonOption = False) -> None:
    """Lists the overrides in force.

    Example: spendgate overrides list
    """
    with connect(context) as gateway:
        request = overrides.ListOverridesRequest()
        found = read_list(gateway.overrides.ListOverrides, request, lambda page: page.overrides)
    Listing(
        "overrides",
        columns=("NAME", "POLICY", "LIMIT", "SCOPE", "BOUND", "UNTIL (UTC)", "BY", "REASON"),
        row=_row,
        document=_as_json,
        empty="No override is in force: `spendgate overrides grant POLICY` makes one.",
        numeric=frozenset({"BOUND"}),
    ).print(found, as_json=json)


def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the override, as `list` shows it.")],
    *,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Ends an override before its time.

    Example: spendgate overrides revoke ovr_019ab6f3 --reason "launch is over"
    """
    request = overrides.RevokeOverrideRequest(name=name, reason=reason)
    with connect(context) as gateway:
        gone = gateway.overrides.RevokeOverride(request).override
    print_result(_as_json(gone), f"{gone.limit_id} of policy {gone.policy} has its own bound again", as_json=json)


def _read_amount(text: str) -> Money:
    try:
        return usd(parse_usd(text))
    except ValueError as error:
        raise Misuse(f"--usd {text!r}: {error}") from error


def _readable_bound(override: overrides.Override) -> str:
    return readable_usd(nano_usd_of(override.amount)) if override.HasField("amount") else f"{override.count:,}"


def _row(override: overrides.Override) -> tuple[str, ...]:
    return (
        override.name,
        override.policy,
        override.limit_id,
        override.scope,
        _readable_bound(override),
        readable_time(override.expire_time),
        override.actor,
        override.reason,
    )


def _as_json(override: overrides.Override) -> dict[str, object]:
    bound = {"limit_usd": usd_of(override.amount)} if override.HasField("amount") else {"limit": override.count}
    return {
        **fields_of(override, "name", "policy", "limit_id", "scope"),
        **bound,
        "until": rfc3339(override.expire_time),
        "created_at": rfc3339(override.create_time),
        **fields_of(override, "actor", "reason"),
    }
