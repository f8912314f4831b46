"""`spendgate keys`: the credentials that applications hold."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.quota.v1 import quota_service_pb2 as quota
from spendgate.type.v1.attribution_pb2 import Attribution

from services.chassis.enums import enum_names
from services.chassis.well_known import duration
from services.cli.commands.key_limits import limits
from services.cli.connection import connect
from services.cli.paging import read_list
from services.cli.printing import Listing, fields_of, print_json, print_result, print_text, remark
from services.cli.session import GatewayCommand, JsonOption, ReasonOption, session_of
from services.cli.times import optional_rfc3339, parse_until, readable_time

STATES = enum_names(quota.VirtualKey.State)
_MAX_GRACE_S = 604_800

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key.")]


def build_keys() -> typer.Typer:
    """Builds the group `keys`."""
    group = typer.Typer(help="Virtual keys: what applications hold in place of a provider's key.", no_args_is_help=True)
    group.command(cls=GatewayCommand)(create)
    group.command("list", cls=GatewayCommand)(list_keys)
    group.command(cls=GatewayCommand)(rotate)
    group.command(cls=GatewayCommand)(disable)
    group.command(cls=GatewayCommand)(enable)
    group.command(cls=GatewayCommand)(limits)
    return group


def create(
    context: typer.Context,
    name: NameArgument,
    *,
    team: Annotated[str, typer.Option(help="Team to which its calls belong.")] = "",
    project: Annotated[str, typer.Option(help="Project of the team.")] = "",
    environment: Annotated[str, typer.Option(help='Environment, such as "prod".')] = "",
    user: Annotated[str, typer.Option(help="User, such as a mail address.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use. Repeat the option for more. Default: all.")
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="WHEN", help="When it ends: 30d, or 2027-01-31T00:00:00Z. Default: never.")
    ] = "",
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Let it work even if no policy bounds it.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Mark the secret as one for tests: spg_test_...")] = False,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Creates a key and shows its secret, once.

    It is refused if no enforced policy would bind it, unless it is --unlimited.

    Example: spendgate keys create ci --team data-science --environment dev --expires 30d
    """
    attribution = Attribution(team=team, project=project, environment=environment, user=user)
    key = quota.VirtualKey(name=name, attribution=attribution, models=model or [], unlimited=unlimited)
    if expires:
        key.expire_time.CopyFrom(parse_until("--expires", expires, session_of(context).clock))
    request = quota.CreateVirtualKeyRequest(
        virtual_key=key, secret_kind=quota.SECRET_KIND_TEST if test else quota.SECRET_KIND_LIVE, reason=reason
    )
    with connect(context) as gateway:
        _show_secret(gateway.quota.CreateVirtualKey(request), json=json)


def list_keys(context: typer.Context, *, json: JsonOption = False) -> None:
    """Lists the keys, never their secrets.

    Example: spendgate keys list --json
    """
    with connect(context) as gateway:
        keys = read_list(gateway.quota.ListVirtualKeys, quota.ListVirtualKeysRequest(), lambda page: page.virtual_keys)
    Listing(
        "keys",
        columns=("NAME", "TEAM", "PROJECT", "ENVIRONMENT", "USER", "STATE", "UNLIMITED", "EXPIRES", "HINT"),
        row=_row,
        document=_as_json,
        empty="No keys yet: declare them in the configuration, or `spendgate keys create NAME --team TEAM`.",
    ).print(keys, as_json=json)


def rotate(
    context: typer.Context,
    name: NameArgument,
    *,
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, max=_MAX_GRACE_S, help="How long the old secret still works.")
    ] = 0,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Gives a key a new secret and shows it, once.

    Example: spendgate keys rotate ci --grace 3600
    """
    request = quota.RotateVirtualKeyRequest(name=name, grace_period=duration(grace * 1_000), reason=reason)
    with connect(context) as gateway:
        _show_secret(gateway.quota.RotateVirtualKey(request), json=json)


def disable(
    context: typer.Context,
    name: NameArgument,
    *,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Stops a key until it is enabled again.

    Example: spendgate keys disable ci
    """
    request = quota.DisableVirtualKeyRequest(name=name, reason=reason)
    with connect(context) as gateway:
        key = gateway.quota.DisableVirtualKey(request).virtual_key
    _show_state(key, json=json)


def enable(
    context: typer.Context,
    name: NameArgument,
    *,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Lets a disabled key work again.

    Example: spendgate keys enable ci
    """
    request = quota.EnableVirtualKeyRequest(name=name, reason=reason)
    with connect(context) as gateway:
        key = gateway.quota.EnableVirtualKey(request).virtual_key
    _show_state(key, json=json)


def _show_secret(made: quota.CreateVirtualKeyResponse | quota.RotateVirtualKeyResponse, *, json: bool) -> None:
    key = made.virtual_key
    if json:
        print_json({"name": key.name, "key_id": key.key_id, "secret": made.secret})
        return
    print_text(made.secret)
    remark(f"This is the secret of key {key.name} ({key.key_id}). It is not shown again.")


def _show_state(key: quota.VirtualKey, *, json: bool) -> None:
    state = STATES.get(key.state, "?")
    document = {"name": key.name, "key_id": key.key_id, "state": state}
    print_result(document, f"key {key.name} is {state.replace('_', ' ')}", as_json=json)


def _row(key: quota.VirtualKey) -> tuple[str, ...]:
    return (
        key.name,
        key.attribution.team,
        key.attribution.project,
        key.attribution.environment,
        key.attribution.user,
        STATES.get(key.state, "?"),
        "yes" if key.unlimited else "no",
        readable_time(key.expire_time) or "never",
        key.hint,
    )


def _as_json(key: quota.VirtualKey) -> dict[str, object]:
    return {
        **fields_of(key, "name", "key_id", "hint"),
        **fields_of(key.attribution, "team", "project", "environment", "user"),
        "models": list(key.models),
        "state": STATES.get(key.state, "unknown"),
        "unlimited": key.unlimited,
        "expires_at": optional_rfc3339(key, "expire_time"),
        "created_at": optional_rfc3339(key, "create_time"),
    }
