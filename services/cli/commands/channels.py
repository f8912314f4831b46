"""`spendgate channels`: where alerts go, and whether they arrive there."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.cli.connection import connect
from services.cli.printing import Listing, fields_of, print_result
from services.cli.problems import Refused
from services.cli.session import GatewayCommand, JsonOption


def build_channels() -> typer.Typer:
    """Builds the group `channels`."""
    group = typer.Typer(help="Where alerts go, and whether they arrive there.", no_args_is_help=True)
    group.command("list", cls=GatewayCommand)(list_channels)
    group.command("test", cls=GatewayCommand)(try_channel)
    return group


def list_channels(context: typer.Context, *, json: JsonOption = False) -> None:
    """Lists the channels of the configuration, without what may be secret in their addresses.

    Example: spendgate channels list
    """
    with connect(context) as gateway:
        channels = gateway.ledger.ListAlertChannels(ledger.ListAlertChannelsRequest()).channels
    Listing(
        "channels",
        columns=("NAME", "GOES TO", "SIGNED WITH"),
        row=_row,
        document=lambda channel: fields_of(channel, "name", "url", "webhook", "secret_env"),
        empty="No channels yet: write them under `channels:` in the configuration. Until then alerts are only listed.",
    ).print(channels, as_json=json)


def _row(channel: ledger.AlertChannel) -> tuple[str, ...]:
    signature = channel.secret_env or ("nothing" if channel.webhook else "")
    return channel.name, channel.webhook or channel.url, signature


def try_channel(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the channel.")],
    *,
    json: JsonOption = False,
) -> None:
    """Sends a test to a channel, and says whether it arrived.

    Example: spendgate channels test finance
    """
    with connect(context) as gateway:
        problem = gateway.ledger.TestAlertChannel(ledger.TestAlertChannelRequest(name=name), timeout=90).problem
    if problem:
        raise Refused(f"the test did not arrive at {name}: {problem}")
    print_result({"channel": name, "arrived": True}, f"the test arrived at {name}", as_json=json)
