"""`spendgate doubt` and what other commands show of doubt."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.quota.v1 import doubt_service_pb2 as doubts
from spendgate.quota.v1 import quota_service_pb2 as quota

from tests.worlds.cli import Cli
from tests.worlds.stand_in_services import StandIn


def time_of(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


PLACE: dict[str, Any] = {"policy": "ds", "limit_id": "spend/month/UTC", "scope": "team=ds"}
LEFT = doubts.Doubt(
    reservation="rsv_1", key="app", team="ds", model="gpt", since_time=time_of(1_800_000_000),
    amounts=[
        doubts.DoubtfulAmount(
            limit_kind=quota.LIMIT_KIND_SPEND, amount=390_000, window_start_time=time_of(1_798_761_600),
            end_time=time_of(1_801_440_000), **PLACE,
        ),
        doubts.DoubtfulAmount(
            policy="ds", limit_id="tokens/day/UTC", scope="team=ds", limit_kind=quota.LIMIT_KIND_TOKENS, amount=1_240,
        ),
    ],
)  # fmt: skip


def test_doubts_are_listed_by_call(services: StandIn, cli: Cli) -> None:
    services.answers["DoubtService.ListDoubts"] = [
        doubts.ListDoubtsResponse(next_page_token="more"),
        doubts.ListDoubtsResponse(doubts=[LEFT]),
    ]
    (doubt,) = cli.json("doubt", "list", "--policy", "ds", "--scope", "team=ds")["doubts"]
    spend, tokens = doubt.pop("amounts")
    assert doubt == {
        "reservation": "rsv_1", "key": "app", "team": "ds", "model": "gpt", "since": "2027-01-15T08:00:00Z",
    }  # fmt: skip
    assert spend == {
        **PLACE, "limit_kind": "spend", "doubt_usd": "0.000390000",
        "window_start": "2027-01-01T00:00:00Z", "until": "2027-02-01T00:00:00Z",
    }  # fmt: skip
    assert (tokens["doubt"], tokens["limit_id"]) == (1_240, "tokens/day/UTC")
    assert {(asked.policy, asked.scope) for _, asked in services.requests} == {("ds", "team=ds")}


def test_people_see_a_row_for_each_limit_and_a_sentence_where_there_is_none(services: StandIn, cli: Cli) -> None:
    services.answers["DoubtService.ListDoubts"] = doubts.ListDoubtsResponse(doubts=[LEFT])
    code, said, _ = cli.text("doubt", "list")
    heading, *rows = said.splitlines()
    assert (code, heading.split()[0], len(rows)) == (0, "CALL", 2)
    assert "1,240" in rows[1]
    services.answers["DoubtService.ListDoubts"] = doubts.ListDoubtsResponse()
    assert cli.text("doubt", "list")[1].startswith("Nothing is in doubt")


def test_what_is_cleared_is_named_and_who_clears_says_which(services: StandIn, cli: Cli) -> None:
    amount = doubts.ClearedAmount(limit_kind=quota.LIMIT_KIND_SPEND, amount=390_000, **PLACE)
    services.answers["DoubtService.ClearDoubts"] = doubts.ClearDoubtsResponse(calls=1, amounts=[amount])
    clear = ("doubt", "clear", "--reason", "checked")
    assert cli.json(*clear, "rsv_1", "rsv_2", "--policy", "ds", "--scope", "team=ds", "--older-than", "1d") == {
        "calls": 1,
        "amounts": [{**PLACE, "limit_kind": "spend", "doubt_usd": "0.000390000"}],
    }
    ((_, asked),) = services.requests
    assert (list(asked.reservations), asked.policy, asked.scope) == (["rsv_1", "rsv_2"], "ds", "team=ds")
    assert (asked.reason, asked.before_time.seconds) == ("checked", 1_800_000_000 - 86_400)
    for wrong in ((), ("--scope", "team=ds"), ("rsv_1", "--scope", "team=ds"), ("--older-than", "yesterday")):
        assert cli.text(*clear, *wrong)[0] == 2
    assert "Cleared what 1 call left in doubt" in cli.text(*clear, "rsv_1")[1]
    services.answers["DoubtService.ClearDoubts"] = doubts.ClearDoubtsResponse()
    assert cli.text(*clear, "rsv_1")[1].startswith("Nothing of that is in doubt")


def test_a_column_for_doubt_is_there_only_when_there_is_some(services: StandIn, cli: Cli) -> None:
    budget = quota.Budget(policy="ds", limit_kind=quota.LIMIT_KIND_TOKENS, scope="team=ds", limit=100, settled=10)
    limit = quota.ExplainResponse.AppliedLimit(policy="ds", limit_kind=quota.LIMIT_KIND_TOKENS, limit=100)
    for doubt in (0, 80):
        budget.doubt = limit.doubt = doubt
        services.answers["QuotaService.ListBudgets"] = quota.ListBudgetsResponse(budgets=[budget])
        services.answers["QuotaService.Explain"] = quota.ExplainResponse(limits=[limit])
        for command in (("budgets",), ("explain", "--key", "app", "--model", "gpt")):
            _, said, _ = cli.text(*command)
            assert ("DOUBT" in said) == bool(doubt)
    heading, row, *_ = cli.text("budgets")[1].splitlines()
    cells = dict(zip(heading.split(), row.split(), strict=False))
    assert (cells["USED"], cells["DOUBT"], cells["LEFT"], cells["%"]) == ("10", "80", "10", "90.0%")
