"""The command `spendgate`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from services.chassis.process import SystemClock
from services.chassis.settings import SettingsError
from services.chassis.variables import refuse_unknown_variables
from services.cli.printing import fail
from services.cli.problems import CommandError, Misuse
from services.cli.session import GatewayCommand, Session

# The commands in the order of the help, each with its module in `commands`. There it is a function of its own name, or
# a group that `build_<name>` builds.
_MODULES = {
    "up": "up",
    "demo": "demo",
    "init": "configure",
    "doctor": "doctor",
    "check": "configure",
    "apply": "configure",
    "keys": "keys",
    "budgets": "budgets",
    "doubt": "doubt",
    "adjustments": "adjustments",
    "policies": "policies",
    "overrides": "overrides",
    "usage": "usage",
    "calls": "calls",
    "explain": "budgets",
    "simulate": "simulate",
    "routes": "routes",
    "providers": "providers",
    "models": "models",
    "credentials": "credentials",
    "alerts": "alerts",
    "channels": "channels",
    "tokens": "tokens",
    "audit": "audit",
    "status": "routes",
}
_NEED_NO_GATEWAY = {"up", "demo", "init", "check"}


def build_app(first: str = "") -> typer.Typer:
    """Builds the application.

    `first`: the first argument. If it names a command, only that one is loaded, because `spendgate up` runs for months
    and all others for a moment. Otherwise all are, for the help and for suggestions.
    """
    app = typer.Typer(
        name="spendgate",
        help="LLM spend, enforced where the traffic is.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    # With a callback, an application of one command still expects its name.
    app.callback()(lambda: None)
    for name in [first] if first in _MODULES else _MODULES:
        _add(app, name)
    return app


def _add(app: typer.Typer, name: str) -> None:
    module = importlib.import_module(f"services.cli.commands.{_MODULES[name]}")
    if build_group := getattr(module, f"build_{name}", None):
        app.add_typer(build_group(), name=name)
    else:
        app.command(name, cls=None if name in _NEED_NO_GATEWAY else GatewayCommand)(getattr(module, name))


def run(arguments: Sequence[str], session: Session) -> NoReturn:
    """Runs one command.

    Raises:
        SystemExit: always. 0 for success, 1 for a refusal or failure, 2 for misuse.
    """
    as_json = "--json" in arguments
    try:
        if "--help" not in arguments:
            _refuse_unknown_variables(session)
        # Typer itself explains arguments that it cannot parse, with the usage. Programs get a document.
        code = build_app(*arguments[:1])(list(arguments), obj=session, standalone_mode=not as_json)
    except CommandError as error:
        fail(str(error), as_json=as_json)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        fail(error.format_message(), as_json=True)
        sys.exit(error.exit_code)
    sys.exit(code or 0)


def _refuse_unknown_variables(session: Session) -> None:
    try:
        refuse_unknown_variables(session.environ)
    except SettingsError as error:
        raise Misuse(str(error)) from error


def main() -> NoReturn:
    """Runs what the shell asks for."""
    run(sys.argv[1:], Session(environ=os.environ, clock=SystemClock()))  # noqa: TID251  (the one place that reads it)
