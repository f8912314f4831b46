"""`spendgate usage`: how much was spent, by whom, on what."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.ledger.v1 import ledger_service_pb2 as ledger

from services.chassis.well_known import nano_usd_of
from services.cli.amounts import readable_usd, usd_of
from services.cli.connection import connect
from services.cli.printing import fields_of, print_json, print_table, print_text
from services.cli.problems import Misuse
from services.cli.session import JsonOption, session_of
from services.cli.times import parse_since
from services.cli.usage_dimensions import USAGE_DIMENSIONS

DIMENSIONS = tuple(USAGE_DIMENSIONS)


def usage(
    context: typer.Context,
    *,
    by: Annotated[str, typer.Option(metavar="FIELD,...", help=f"Any of {', '.join(DIMENSIONS)}.")] = "team,model",
    since: Annotated[str, typer.Option(metavar="WHEN", help="Start: 7d, 12h, or 2027-01-31T00:00:00Z.")] = "30d",
    until: Annotated[str, typer.Option(metavar="WHEN", help="End, written like --since. Default: now.")] = "",
    where: Annotated[str, typer.Option(metavar="FIELD=VALUE,...", help="Only calls with these values.")] = "",
    json: JsonOption = False,
) -> None:
    """Sums calls, tokens and cost.

    Example: spendgate usage --by team,model --since 7d
    """
    dimensions = parse_dimensions(by)
    clock = session_of(context).clock
    request = ledger.QueryUsageRequest(group_by=[USAGE_DIMENSIONS[name] for name in dimensions], filter=where)
    request.start_time.CopyFrom(parse_since("--since", since, clock))
    if until:
        request.end_time.CopyFrom(parse_since("--until", until, clock))
    with connect(context) as gateway:
        answer = gateway.ledger.QueryUsage(request)
    if json:
        rows = [dict(zip(dimensions, row.values, strict=True)) | _sums(row) for row in answer.rows]
        print_json({"usage": rows, "total": _sums(answer.total)})
    elif not answer.total.calls:
        print_text("No calls in this time: usage shows up within seconds of a call.")
    else:
        columns = (*(name.upper() for name in dimensions), "CALLS", "INPUT", "OUTPUT", "COST", "UNPRICED")
        rows_and_total = [(*row.values, *_cells(row)) for row in answer.rows]
        rows_and_total.append((*(["TOTAL"] + [""] * (len(dimensions) - 1)), *_cells(answer.total)))
        print_table(columns, rows_and_total, numeric=frozenset({"CALLS", "INPUT", "OUTPUT", "COST", "UNPRICED"}))


def parse_dimensions(text: str) -> list[str]:
    """Reads the fields of --by.

    Raises:
        Misuse: one is unknown or given twice.
    """
    dimensions = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown or not dimensions:
        raise Misuse(f"--by {text!r}: write some of {', '.join(DIMENSIONS)}, joined by commas")
    if len(set(dimensions)) < len(dimensions):
        raise Misuse(f"--by {text!r}: each field once")
    return dimensions


def _sums(row: ledger.UsageRow) -> dict[str, object]:
    return {
        **fields_of(row, "calls", "input_tokens", "cached_input_tokens", "output_tokens"),
        "cost_usd": usd_of(row.cost),
        **fields_of(row, "unpriced_calls", "retries", "logical_calls"),
    }


def _cells(row: ledger.UsageRow) -> tuple[str, ...]:
    return (
        f"{row.calls:,}",
        f"{row.input_tokens:,}",
        f"{row.output_tokens:,}",
        readable_usd(nano_usd_of(row.cost)),
        f"{row.unpriced_calls:,}" if row.unpriced_calls else "",
    )
