"""`spendgate doubt`: how much calls without a measured end may have taken beyond what is settled of them."""

from __future__ import annotations

from typing import Annotated

import typer
from spendgate.quota.v1 import doubt_service_pb2 as doubts

from services.cli.amounts import limit_amounts, readable_amount
from services.cli.connection import connect
from services.cli.limit_kinds import kind_name
from services.cli.paging import read_list
from services.cli.printing import Listing, print_json, print_result
from services.cli.problems import Misuse
from services.cli.session import GatewayCommand, JsonOption, session_of
from services.cli.times import parse_since, readable_time, rfc3339

_PolicyOption = Annotated[str, typer.Option(help="Only doubt in the limits of this policy.")]
_ScopeOption = Annotated[str, typer.Option(help="Only doubt in this counter of the policy, as `budgets` shows it.")]
_Amount = doubts.DoubtfulAmount | doubts.ClearedAmount


def build_doubt() -> typer.Typer:
    """Builds the group `doubt`."""
    group = typer.Typer(
        help="What calls that were cut off may have cost beyond what is booked. It stays reserved.",
        no_args_is_help=True,
    )
    group.command("list", cls=GatewayCommand)(list_doubts)
    group.command(cls=GatewayCommand)(clear)
    return group


def list_doubts(
    context: typer.Context,
    *,
    policy: _PolicyOption = "",
    scope: _ScopeOption = "",
    limit: Annotated[int | None, typer.Option(min=1, help="How many calls at most. Default: all.")] = None,
    json: JsonOption = False,
) -> None:
    """Lists what is in doubt, oldest first: by which call, in which limit, and until when.

    Example: spendgate doubt list --policy data-science-prod
    """
    with connect(context) as gateway:
        request = doubts.ListDoubtsRequest(policy=policy, scope=scope)
        found = read_list(gateway.doubts.ListDoubts, request, lambda page: page.doubts, limit)
    if json:
        print_json({"doubts": [_as_json(doubt) for doubt in found]})
        return
    Listing(
        "doubts",
        columns=("CALL", "KEY", "MODEL", "POLICY", "LIMIT", "SCOPE", "DOUBT", "SINCE (UTC)", "UNTIL (UTC)"),
        row=_row,
        document=lambda pair: _as_json(pair[0]),
        empty="Nothing is in doubt: what every call took is known, or its window is over.",
        numeric=frozenset({"DOUBT"}),
    ).print([(doubt, amount) for doubt in found for amount in doubt.amounts], as_json=False)


def clear(
    context: typer.Context,
    calls: Annotated[
        list[str] | None, typer.Argument(metavar="[CALL]...", help="Ids of calls, as `list` shows them.")
    ] = None,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit log.")],
    policy: _PolicyOption = "",
    scope: _ScopeOption = "",
    older_than: Annotated[
        str, typer.Option(metavar="WHEN", help="Only calls that ended before then: 2d, or 2027-01-31T00:00:00Z.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Gives back the room that calls left in doubt, once you know that their provider did not bill it.

    All given conditions must hold. It books nothing: if the provider billed the call after all, the limit was exceeded.

    Example: spendgate doubt clear --policy data-science-prod --older-than 2d --reason "invoice checked"
    """
    if not (calls or policy or older_than):
        raise Misuse("name the calls: by id, --policy, or --older-than")
    if scope and not policy:
        raise Misuse("--scope goes with --policy")
    request = doubts.ClearDoubtsRequest(reservations=calls or [], policy=policy, scope=scope, reason=reason)
    if older_than:
        request.before_time.CopyFrom(parse_since("--older-than", older_than, session_of(context).clock))
    with connect(context) as gateway:
        cleared = gateway.doubts.ClearDoubts(request)
    document = {
        "calls": cleared.calls,
        "amounts": [
            {**_place_as_json(amount), **limit_amounts(amount.limit_kind, doubt=amount.amount)}
            for amount in cleared.amounts
        ],
    }
    print_result(document, _cleared_text(cleared), as_json=json)


def _cleared_text(cleared: doubts.ClearDoubtsResponse) -> str:
    if not cleared.calls:
        return "Nothing of that is in doubt: `spendgate doubt list` shows what is."
    calls = f"{cleared.calls:,} call{'' if cleared.calls == 1 else 's'}"
    lines = [
        f"  {each.policy} {each.limit_id} {each.scope}: {readable_amount(each.limit_kind, each.amount)}"
        for each in cleared.amounts
    ]
    return "\n".join([f"Cleared what {calls} left in doubt:", *lines])


def _row(pair: tuple[doubts.Doubt, doubts.DoubtfulAmount]) -> tuple[str, ...]:
    doubt, amount = pair
    return (
        doubt.reservation,
        doubt.key,
        doubt.model,
        amount.policy,
        amount.limit_id,
        amount.scope,
        readable_amount(amount.limit_kind, amount.amount),
        readable_time(doubt.since_time),
        readable_time(amount.end_time),
    )


def _as_json(doubt: doubts.Doubt) -> dict[str, object]:
    return {
        "reservation": doubt.reservation,
        "key": doubt.key,
        "team": doubt.team,
        "model": doubt.model,
        "since": rfc3339(doubt.since_time),
        "amounts": [
            {
                **_place_as_json(amount),
                "window_start": rfc3339(amount.window_start_time),
                "until": rfc3339(amount.end_time),
                **limit_amounts(amount.limit_kind, doubt=amount.amount),
            }
            for amount in doubt.amounts
        ],
    }


def _place_as_json(amount: _Amount) -> dict[str, object]:
    kind = kind_name(amount.limit_kind, "unknown")
    return {"policy": amount.policy, "limit_kind": kind, "limit_id": amount.limit_id, "scope": amount.scope}
