"""`spendgate tokens`: who may administer the gateway."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.quota.v1 import admin_service_pb2 as administration
from spendgate.type.v1 import role_pb2

from services.chassis.enums import enum_names
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, print_json, print_result, print_text, remark
from services.cli.problems import Misuse
from services.cli.session import GatewayCommand, JsonOption, ReasonOption, session_of
from services.cli.times import parse_until, readable_time, rfc3339

_NAMES = {number: name.replace("_", "-") for number, name in enum_names(role_pb2.Role).items()}
_ROLES = {name: number for number, name in _NAMES.items()}

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")]


def build_tokens() -> typer.Typer:
    """Builds the group `tokens`."""
    group = typer.Typer(help="Admin tokens: who may administer the gateway, and how far.", no_args_is_help=True)
    group.command(cls=GatewayCommand)(create)
    group.command("list", cls=GatewayCommand)(list_tokens)
    group.command(cls=GatewayCommand)(revoke)
    return group


def create(
    context: typer.Context,
    name: NameArgument,
    *,
    role: Annotated[str, typer.Option(help="platform, team-admin or finance.")],
    team: Annotated[str, typer.Option(help="Team of a team-admin.")] = "",
    expires: Annotated[str, typer.Option(metavar="WHEN", help="When it ends: 30d, or 2027-01-31T00:00:00Z.")] = "30d",
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Creates an admin token and shows its secret, once.

    Its holder sets SPENDGATE_TOKEN to it.

    Example: spendgate tokens create ada --role team-admin --team data-science --expires 30d
    """
    if role not in _ROLES:
        raise Misuse(f"--role {role!r}: write one of {', '.join(_ROLES)}")
    token = administration.AdminToken(name=name, role=_ROLES[role], team=team)
    token.expire_time.CopyFrom(parse_until("--expires", expires, session_of(context).clock))
    request = administration.CreateAdminTokenRequest(admin_token=token, reason=reason)
    with connect(context) as gateway:
        made = gateway.administration.CreateAdminToken(request)
    if json:
        print_json({**_as_json(made.admin_token), "secret": made.secret})
        return
    print_text(made.secret)
    remark(f"This is the secret of admin token {name}. It is not shown again.")


def list_tokens(context: typer.Context, *, json: JsonOption = False) -> None:
    """Lists the admin tokens, never their secrets.

    Example: spendgate tokens list
    """
    with connect(context) as gateway:
        request = administration.ListAdminTokensRequest()
        tokens = read_list(gateway.administration.ListAdminTokens, request, lambda page: page.admin_tokens)
    Listing(
        "tokens",
        columns=("NAME", "ROLE", "TEAM", "EXPIRES (UTC)", "STATE", "HINT"),
        row=_row,
        document=_as_json,
        empty="No admin tokens yet except the one in the data directory: `spendgate tokens create NAME --role ROLE`.",
    ).print(tokens, as_json=json)


def revoke(
    context: typer.Context,
    name: NameArgument,
    *,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Ends an admin token at once.

    Example: spendgate tokens revoke ada --reason "left the team"
    """
    request = administration.RevokeAdminTokenRequest(name=name, reason=reason)
    with connect(context) as gateway:
        gone = gateway.administration.RevokeAdminToken(request).admin_token
    print_result(_as_json(gone), f"admin token {name} is revoked", as_json=json)


def _row(token: administration.AdminToken) -> tuple[str, ...]:
    return (
        token.name,
        _NAMES.get(token.role, "?"),
        token.team,
        readable_time(token.expire_time),
        "expired" if token.expired else "active",
        token.hint,
    )


def _as_json(token: administration.AdminToken) -> dict[str, object]:
    return {
        "name": token.name,
        "role": _NAMES.get(token.role, "unknown"),
        "team": token.team,
        "expires_at": rfc3339(token.expire_time),
        "created_at": rfc3339(token.create_time),
        "expired": token.expired,
        "hint": token.hint,
    }
