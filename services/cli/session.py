"""The environment of a command, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand

from services.cli.gateway_address import DEFAULT_ADMIN, DEFAULT_DATA_DIR
from services.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class Session:
    """The world outside. Set once in `main`, replaced in tests."""

    environ: Mapping[str, str]
    clock: Clock


def session_of(context: typer.Context) -> Session:
    """Returns the session that `main` attached."""
    session = context.find_object(Session)
    if session is None:
        raise RuntimeError("the command line was started without a session")
    return session


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """The command line's options for finding the gateway."""

    admin: str
    data_dir: Path
    certificate: Path | None


_GATEWAY = "The gateway"


def _read_options(
    *,
    admin: Annotated[
        str,
        typer.Option(
            "--admin",
            envvar="SPENDGATE_ADMIN",
            metavar="HOST:PORT",
            help="Admin address of the running gateway.",
            rich_help_panel=_GATEWAY,
        ),
    ] = DEFAULT_ADMIN,
    data_dir: Annotated[
        Path,
        typer.Option(
            "--data-dir",
            envvar="SPENDGATE_DATA_DIR",
            metavar="DIR",
            help="Data directory of the gateway, where the admin token is (or set SPENDGATE_TOKEN).",
            rich_help_panel=_GATEWAY,
        ),
    ] = DEFAULT_DATA_DIR,
    admin_ca: Annotated[
        Path | None,
        typer.Option(
            "--admin-ca",
            envvar="SPENDGATE_ADMIN_CA",
            metavar="FILE",
            help="PEM file of the authority that signed the admin address's certificate. Default: no TLS.",
            rich_help_panel=_GATEWAY,
        ),
    ] = None,
) -> GatewayOptions:
    return GatewayOptions(admin, data_dir, admin_ca)


class GatewayCommand(TyperCommand):
    """A command that talks to the running gateway. It also takes the options of `_read_options`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        reader = typer.Typer(add_completion=False)
        reader.command()(_read_options)
        self._reader = typer.main.get_command(reader)
        self.params.extend(self._reader.params)

    def invoke(self, ctx: Any) -> Any:
        """Keeps the gateway's options for `connect`, and runs the command with its own."""
        values = {option.name: ctx.params.pop(option.name) for option in self._reader.params}
        ctx.meta[_GATEWAY] = ctx.invoke(self._reader.callback, **values)
        return super().invoke(ctx)


def gateway_options(context: typer.Context) -> GatewayOptions:
    """Returns the options of a `GatewayCommand`."""
    options: GatewayOptions = context.meta[_GATEWAY]
    return options


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
LimitOption = Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]
FileOption = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", exists=True, dir_okay=False, help="Configuration file.")
]

__all__ = [
    "DEFAULT_DATA_DIR",
    "FileOption",
    "GatewayCommand",
    "GatewayOptions",
    "JsonOption",
    "LimitOption",
    "ReasonOption",
    "Session",
    "gateway_options",
    "session_of",
]
