"""`spendgate simulate`: how other policies would have treated past calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated

import grpc
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from spendgate.ledger.v1 import ledger_service_pb2 as ledger
from spendgate.quota.v1 import simulation_service_pb2 as simulation

from services.chassis.paging import MAX_PAGE_SIZE
from services.chassis.well_known import nano_usd_of, timestamp
from services.cli.amounts import readable_usd, usd_of
from services.cli.commands.configure import load_or_refuse
from services.cli.configuration import Configuration
from services.cli.connection import connect
from services.cli.gateway import Gateway
from services.cli.limit_kinds import kind_name
from services.cli.printing import fields_of, print_json, print_table, print_text
from services.cli.problems import Misuse
from services.cli.session import FileOption, JsonOption, session_of
from services.cli.times import optional_rfc3339, parse_since, readable_time, rfc3339
from services.cli.translate import quota_policies
from services.kernel.money import format_usd

NOTES = (
    "Judged by actual cost: a live gateway holds more while a call runs, so it may refuse or degrade earlier.",
    "Counters begin at zero at the start: begin where a window of the policies begins.",
    "Cheaper targets are those of the current models, at current prices.",
)
_WHOLE = 10_000
_TAKEN_OVER = simulation.PastCall.DESCRIPTOR.fields_by_name

Report = simulation.SimulatePoliciesResponse


def simulate(
    context: typer.Context,
    *,
    file: FileOption,
    since: Annotated[str, typer.Option(metavar="WHEN", help="Start: 7d, 12h, or 2027-01-31T00:00:00Z.")] = "30d",
    until: Annotated[str, typer.Option(metavar="WHEN", help="End, written like --since. Default: now.")] = "",
    json: JsonOption = False,
) -> None:
    """Replays past calls through a file's policies: who would have been degraded or denied, and the savings.

    Changes nothing. It reads only the policies of the file.

    Example: spendgate simulate -f proposed.yaml --since 30d
    """
    configuration = load_or_refuse(file)
    clock = session_of(context).clock
    asked = ledger.ListCallsRequest(page_size=MAX_PAGE_SIZE, oldest_first=True)
    asked.start_time.CopyFrom(parse_since("--since", since, clock))
    asked.end_time.CopyFrom(parse_since("--until", until, clock) if until else timestamp(clock.now_ms()))
    if asked.end_time.ToMilliseconds() < asked.start_time.ToMilliseconds():
        raise Misuse("--until lies before --since")
    with connect(context) as gateway, _progress(gateway, asked) as advance:
        report = replay(gateway, configuration, asked, advance)
    if json:
        print_json(report_as_json(report, asked.start_time, asked.end_time))
    else:
        _print_report(report, asked)


def replay(
    gateway: Gateway, configuration: Configuration, asked: ledger.ListCallsRequest, advance: Callable[[int], None]
) -> Report:
    """Sends the requested calls through the policies of a configuration. `advance` gets the number sent so far.

    Raises:
        grpc.RpcError: the ledger or quota refuses.
    """
    failures: list[grpc.RpcError] = []

    def parts() -> Iterator[simulation.SimulatePoliciesRequest]:
        proposal = simulation.Proposal(policies=quota_policies(configuration.file))
        yield simulation.SimulatePoliciesRequest(proposal=proposal)
        try:
            while True:
                page = gateway.ledger.ListCalls(asked)
                calls = simulation.PastCalls(calls=map(_past_call, page.calls))
                yield simulation.SimulatePoliciesRequest(calls=calls)
                advance(len(page.calls))
                if not page.next_page_token:
                    return
                asked.page_token = page.next_page_token
        except grpc.RpcError as error:
            # When an iterator raises, gRPC reports only that it did.
            failures.append(error)

    report: Report = gateway.simulation.SimulatePolicies(parts())
    if failures:
        raise failures[0]
    return report


def report_as_json(report: Report, since: Timestamp, until: Timestamp) -> dict[str, object]:
    """Follows the JSON contract. A limit that never refused or degraded has null as its first time."""
    return {
        "since": rfc3339(since),
        "until": rfc3339(until),
        **fields_of(report, "calls", "allowed", "degraded", "denied", "unpriced"),
        "real_cost_usd": usd_of(report.real_cost),
        "simulated_cost_usd": usd_of(report.simulated_cost),
        "saved_usd": format_usd(_saved(report)),
        "policies": [
            {
                "policy": limit.policy,
                "limit_kind": kind_name(limit.limit_kind, "unknown"),
                "window": limit.window or None,
                **fields_of(limit, "denied", "degraded"),
                "first_denied_at": optional_rfc3339(limit, "first_denied_time"),
                "first_degraded_at": optional_rfc3339(limit, "first_degraded_time"),
                "saved_usd": usd_of(limit.saved),
                "peak_used_ratio": limit.peak_used_basis_points / _WHOLE,
            }
            for limit in report.limits
        ],
        "unknown_members": [
            {
                **fields_of(refusing, "policy", "denied"),
                "first_denied_at": optional_rfc3339(refusing, "first_denied_time"),
                "saved_usd": usd_of(refusing.saved),
            }
            for refusing in report.unknown_members
        ],
        "keys": [
            {
                **fields_of(caller, "team", "key", "denied", "degraded"),
                "first_at": rfc3339(caller.first_time),
                "saved_usd": usd_of(caller.saved),
            }
            for caller in report.callers
        ],
        "notes": list(NOTES),
    }


@contextlib.contextmanager
def _progress(gateway: Gateway, asked: ledger.ListCallsRequest) -> Iterator[Callable[[int], None]]:
    """Shows the progress of a replay on a terminal, and nothing elsewhere. Yields a function to call at each step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    usage = gateway.ledger.QueryUsage(ledger.QueryUsageRequest(start_time=asked.start_time, end_time=asked.end_time))
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("replaying", total=usage.total.calls)
        yield lambda calls: progress.advance(task, calls)


def _past_call(call: ledger.Call) -> simulation.PastCall:
    """Takes over the fields of the same name. What the ledger leaves out stays out."""
    taken = {field.name: value for field, value in call.ListFields() if field.name in _TAKEN_OVER}
    return simulation.PastCall(**taken)


def _saved(report: Report) -> int:
    return nano_usd_of(report.real_cost) - nano_usd_of(report.simulated_cost)


def _print_report(report: Report, asked: ledger.ListCallsRequest) -> None:
    time = f"{readable_time(asked.start_time)} to {readable_time(asked.end_time)} UTC"
    if not report.calls:
        print_text(f"No calls from {time}: there is nothing to replay.")
        return
    print_text(
        f"{report.calls:,} calls from {time}: {report.allowed:,} allowed, {report.degraded:,} degraded, "
        f"{report.denied:,} denied"
    )
    costs = (nano_usd_of(report.real_cost), nano_usd_of(report.simulated_cost), _saved(report))
    print_text("They cost {}, would have cost {}, saved {}.".format(*map(readable_usd, costs)))
    if report.unpriced:
        print_text(f"{report.unpriced:,} of them keep their recorded cost, because no other is known.")
    print_text("")
    rows = [*map(_limit_row, report.limits), *map(_refusal_row, report.unknown_members)]
    print_table(_LIMIT_COLUMNS, rows, numeric=_NUMERIC)
    if report.callers:
        print_text("")
        print_table(_CALLER_COLUMNS, [_caller_row(caller) for caller in report.callers], numeric=_NUMERIC)
    print_text("")
    for note in NOTES:
        print_text(note)


_LIMIT_COLUMNS = ("POLICY", "LIMIT", "WINDOW", "PEAK", "DEGRADED", "FIRST (UTC)", "DENIED", "FIRST (UTC)", "SAVED")
_CALLER_COLUMNS = ("TEAM", "KEY", "DEGRADED", "DENIED", "FIRST (UTC)", "SAVED")
_NUMERIC = frozenset({"PEAK", "DEGRADED", "DENIED", "SAVED"})


def _limit_row(limit: simulation.LimitOutcome) -> tuple[str, ...]:
    return (
        limit.policy,
        kind_name(limit.limit_kind),
        limit.window,
        f"{limit.peak_used_basis_points / 100:g} %",
        f"{limit.degraded:,}",
        readable_time(limit.first_degraded_time),
        f"{limit.denied:,}",
        readable_time(limit.first_denied_time),
        readable_usd(nano_usd_of(limit.saved)),
    )


def _refusal_row(refusing: simulation.UnknownMembersOutcome) -> tuple[str, ...]:
    return (
        refusing.policy,
        "unknown members",
        "",
        "",
        "0",
        "",
        f"{refusing.denied:,}",
        readable_time(refusing.first_denied_time),
        readable_usd(nano_usd_of(refusing.saved)),
    )


def _caller_row(caller: simulation.CallerOutcome) -> tuple[str, ...]:
    return (
        caller.team,
        caller.key,
        f"{caller.degraded:,}",
        f"{caller.denied:,}",
        readable_time(caller.first_time),
        readable_usd(nano_usd_of(caller.saved)),
    )
