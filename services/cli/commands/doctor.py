"""`spendgate doctor`: reports what is wrong here, and how to fix it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.connection import connect
from services.cli.diagnosis import (
    Finding,
    Level,
    examine_configuration,
    examine_gateway,
    examine_machine,
    examine_port,
)
from services.cli.printing import print_json, print_table
from services.cli.problems import CommandError
from services.cli.session import JsonOption, gateway_options, session_of
from services.cli.supervisor.settings import DEFAULT_LISTEN


def doctor(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Also look at this configuration.")
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Data address of the gateway.")
    ] = DEFAULT_LISTEN,
    json: JsonOption = False,
) -> None:
    """Reports what is wrong here, each with a remedy. Exit code 1 if something does not work.

    Example: spendgate doctor -f spendgate.yaml
    """
    session, gateway = session_of(context), gateway_options(context)
    findings = list(examine_machine(session.environ, gateway.data_dir, session.clock.now_ms()))
    if file is not None:
        findings.extend(examine_configuration(file, session.environ))
    running = _examine_running(context)
    is_ours = any(finding.level is not Level.FAIL for finding in running) and len(running) > 1
    findings.append(examine_port("--listen", listen, lambda: is_ours))
    findings.append(examine_port("--admin-listen", gateway.admin, lambda: is_ours))
    findings.extend(running)
    failed = any(finding.level is Level.FAIL for finding in findings)
    if json:
        print_json({"ok": not failed, "checks": [finding.as_json() for finding in findings]})
    else:
        rows = [(finding.level.value, finding.name, finding.text, finding.remedy) for finding in findings]
        print_table(("", "WHAT", "FOUND", "WHAT TO DO"), rows)
    if failed:
        raise typer.Exit(1)


def _examine_running(context: typer.Context) -> list[Finding]:
    """Returns the gateway's findings, or one finding that there is no gateway."""
    try:
        with connect(context) as gateway:
            return list(examine_gateway(gateway))
    except CommandError as error:
        return [Finding("gateway", Level.WARN, str(error), "fine if none should be running")]
