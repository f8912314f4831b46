"""The command `spendgate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from services.chassis.process import SystemClock
from services.chassis.settings import SettingsError
from services.chassis.variables import refuse_unknown_variables
from services.cli.commands import (
    adjustments,
    alerts,
    audit,
    budgets,
    calls,
    configure,
    demo,
    doctor,
    doubt,
    keys,
    overrides,
    policies,
    routes,
    simulate,
    tokens,
    up,
    usage,
)
from services.cli.printing import fail
from services.cli.problems import CommandError, Misuse
from services.cli.session import GatewayCommand, Session


def build_app() -> typer.Typer:
    """Builds the application with all commands."""
    app = typer.Typer(
        name="spendgate",
        help="LLM spend, enforced where the traffic is.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command()(up.up)
    app.command()(demo.demo)
    app.command()(configure.init)
    app.command(cls=GatewayCommand)(doctor.doctor)
    app.command()(configure.check)
    app.command(cls=GatewayCommand)(configure.apply)
    app.add_typer(keys.build_keys(), name="keys")
    app.command(cls=GatewayCommand)(budgets.budgets)
    app.add_typer(doubt.build_doubt(), name="doubt")
    app.command(cls=GatewayCommand)(adjustments.adjustments)
    app.command(cls=GatewayCommand)(policies.policies)
    app.add_typer(overrides.build_overrides(), name="overrides")
    app.command(cls=GatewayCommand)(usage.usage)
    app.add_typer(calls.build_calls(), name="calls")
    app.command(cls=GatewayCommand)(budgets.explain)
    app.command(cls=GatewayCommand)(simulate.simulate)
    app.command(cls=GatewayCommand)(routes.routes)
    app.add_typer(alerts.build_alerts(), name="alerts")
    app.add_typer(tokens.build_tokens(), name="tokens")
    app.command(cls=GatewayCommand)(audit.audit)
    app.command(cls=GatewayCommand)(routes.status)
    return app


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
        code = build_app()(list(arguments), obj=session, standalone_mode=not as_json)
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
