"""What a command is run with, and how it reaches the gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from services.cli.gateway import DEFAULT_ADMIN, DEFAULT_DATA_DIR, Gateway, explained, find_gateway
from services.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class Session:
    """The world outside: set once in `main`, replaced in tests."""

    environ: Mapping[str, str]
    clock: Clock


def session_of(context: typer.Context) -> Session:
    """The session that `main` attached."""
    session = context.find_object(Session)
    if session is None:
        raise RuntimeError("the command line was started without a session")
    return session


@contextlib.contextmanager
def connect(context: typer.Context, admin: str, data_dir: Path, certificate: Path | None = None) -> Iterator[Gateway]:
    """The running gateway; what it answers badly is told as a sentence.

    Raises:
        CommandError: there is no token, no gateway, or it refuses.
    """
    address = find_gateway(admin, data_dir, session_of(context).environ, certificate)
    with explained(address), Gateway(address) as gateway:
        yield gateway


_GATEWAY = "The gateway"

AdminOption = Annotated[
    str,
    typer.Option(
        "--admin",
        envvar="SPENDGATE_ADMIN",
        metavar="HOST:PORT",
        help="Admin address of the running gateway.",
        rich_help_panel=_GATEWAY,
    ),
]
DataDirOption = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="SPENDGATE_DATA_DIR",
        metavar="DIR",
        help="Data directory of the gateway, where the admin token is (or set SPENDGATE_TOKEN).",
        rich_help_panel=_GATEWAY,
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--admin-ca",
        envvar="SPENDGATE_ADMIN_CA",
        metavar="FILE",
        help="PEM file of the authority that signed the admin address's certificate. Default: no TLS.",
        rich_help_panel=_GATEWAY,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]
FileOption = Annotated[
    Path, typer.Option("--file", "-f", metavar="FILE", exists=True, dir_okay=False, help="Configuration file.")
]

__all__ = [
    "DEFAULT_ADMIN",
    "DEFAULT_DATA_DIR",
    "AdminOption",
    "CertificateOption",
    "DataDirOption",
    "FileOption",
    "JsonOption",
    "ReasonOption",
    "Session",
    "connect",
    "session_of",
]
