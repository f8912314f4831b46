"""`spendgate check`, `apply` and `init`: the configuration file."""

from __future__ import annotations

from collections.abc import Sized
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from services.cli.applying import ACTIONS, Applied, apply_configuration
from services.cli.configuration import Configuration, load_configuration
from services.cli.configuration.references import find_doubtful
from services.cli.configuration.source import ConfigurationError, Problem, format_path
from services.cli.configuration.unpriced import find_unpriced_leads
from services.cli.connection import connect
from services.cli.key_secrets import find_key_secrets
from services.cli.printing import print_json, print_table, print_text, remark
from services.cli.problems import Misuse, Refused
from services.cli.resource_kinds import resource_kind_name
from services.cli.session import FileOption, JsonOption, ReasonOption, session_of

DEFAULT_FILE = Path("spendgate.yaml")


def load_or_refuse(path: Path) -> Configuration:
    """Loads the configuration at `path`.

    Raises:
        Misuse: it has mistakes, one line for each.
    """
    try:
        return load_configuration(path)
    except ConfigurationError as error:
        raise Misuse(str(error)) from error


def check(context: typer.Context, *, file: FileOption, json: JsonOption = False) -> None:
    """Reports what is wrong with a configuration file. Needs no gateway.

    Example: spendgate check -f spendgate.yaml
    """
    try:
        configuration = load_configuration(file)
    except ConfigurationError as error:
        if json:
            print_json({"problems": [_problem(problem) for problem in error.problems], "warnings": []})
            raise typer.Exit(Misuse.exit_code) from error
        raise Misuse(str(error)) from error
    secrets = find_key_secrets(configuration, session_of(context).environ)
    findings = (*find_doubtful(configuration.file), *find_unpriced_leads(configuration.file))
    doubtful = (str(configuration.source.problem(path, text)) for path, text in findings)
    silent = (f"key {name} has no secret here: {problem}" for name, problem in secrets.problems.items())
    warnings = (*doubtful, *silent)
    if json:
        print_json({"problems": [], "warnings": list(warnings)})
        return
    _remark_warnings(warnings)
    entries = configuration.file
    print_text(
        f"{file} is right: {_count(entries.providers, 'provider')}, {_count(entries.models, 'model')}, "
        f"{_count(entries.teams, 'team')}, {_count(entries.policies, 'policy', 'policies')}, "
        f"{_count(entries.keys, 'key')}"
    )


def apply(
    context: typer.Context,
    *,
    file: FileOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Applies a configuration file to the running gateway.

    Applying it twice changes nothing. Keys made by `spendgate keys create` are left alone.

    Example: spendgate apply -f spendgate.yaml --dry-run
    """
    configuration = load_or_refuse(file)
    with connect(context) as gateway:
        environ = session_of(context).environ
        applied = apply_configuration(gateway, configuration, environ, dry_run=dry_run, reason=reason)
    if json:
        print_json({**applied.as_json(), "dry_run": dry_run})
        _remark_warnings(applied.warnings)
        return
    print_applied(applied, dry_run=dry_run)


def init(
    *,
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="Where to write it.")] = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Writes a commented configuration to start from. Never overwrites a file.

    Example: spendgate init -f spendgate.yaml
    """
    text = (resources.files("services.cli") / "starting_file.yaml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError as error:
        raise Refused(f"{file} exists and is left as it is: name another with -f") from error
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}") from error
    if json:
        print_json({"file": str(file)})
    else:
        print_text(f"wrote {file}: edit it, then `spendgate check -f {file}` and `spendgate up -f {file}`")


def print_applied(applied: Applied, *, dry_run: bool) -> None:
    """Prints the changes as a table."""
    _remark_warnings(applied.warnings)
    if not applied.changes:
        print_text("nothing to change")
        return
    rows = [
        (ACTIONS.get(change.action, "?"), resource_kind_name(change.kind), change.name, change.detail)
        for change in applied.changes
    ]
    print_table(("WOULD" if dry_run else "DID", "KIND", "NAME", "DETAIL"), rows)


def _remark_warnings(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        remark(f"warning: {warning}")


def _count(entries: Sized, singular: str, plural: str | None = None) -> str:
    number = len(entries)
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.position.line,
        "column": problem.position.column,
        "path": format_path(problem.path),
        "problem": problem.text,
    }
