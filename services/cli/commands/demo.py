"""`spendgate demo`: loaded only on demand, because nothing else needs the simulated providers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from services.cli.problems import Refused
from services.cli.session import JsonOption, session_of

_MODULE = "services.cli.demo.command"


def demo(
    context: typer.Context,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the gateway running afterwards.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Default: a fresh folder, removed at the end.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Plays a month of a team's traffic against simulated providers, and shows the results.

    Example: spendgate demo --keep
    """
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        raise Refused(f"this installation has no demo ({error.name} is missing): install it complete") from error
    session = session_of(context)
    code = module.run_demo(environ=session.environ, clock=session.clock, keep=keep, data_dir=data_dir, as_json=json)
    if code:
        raise typer.Exit(code)
