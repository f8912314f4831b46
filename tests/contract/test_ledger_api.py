"""`LedgerService` and `PriceBookService` over a real gRPC server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.ledger.v1 import price_book_service_pb2 as price_pb
from spendgate.type.v1 import configuration_pb2
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_ALERT_CHANNEL, RESOURCE_KIND_PRICE

from services.chassis.enums import enum_numbers
from services.chassis.paging import write_token
from services.chassis.well_known import duration
from services.kernel.envoy_contract import ACTOR_HEADER
from services.ledger.transport import ledger_service
from tests.worlds.ledger_api import Api, ledger_api
from tests.worlds.spool_lines import attempt_fields, call_fields


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with ledger_api(tmp_path) as found:
        yield found


DIMENSIONS = enum_numbers(pb.UsageDimension)
UNHEARD: Any = [99]
"""The number of a dimension that only a later release knows."""


def by(*names: str) -> list[pb.UsageDimension.ValueType]:
    return [DIMENSIONS[name] for name in names]


def refused(call: Any, request: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code()


def nano_usd(money: Any) -> int:
    return int(money.units * 10**9 + money.nanos)


def test_usage_is_grouped_and_adds_up_to_the_nano_dollar(api: Api) -> None:
    api.book(
        *(call_fields(number, team="a", input_tokens=str(number * 7)) for number in range(1, 6)),
        *(call_fields(number, team="b", user=None, status=500, flags="DC") for number in range(6, 9)),
        call_fields(9, team=None, chain="lab/tiny", time="2026-11-22T23:59:59.999Z"),
    )

    answer = api.ledger.QueryUsage(pb.QueryUsageRequest(group_by=by("team", "day", "provider", "status")))

    assert [list(row.values) for row in answer.rows] == [
        ["b", "2026-11-23", "openai", "5xx"],
        ["a", "2026-11-23", "openai", "2xx"],
        ["", "2026-11-22", "lab", "2xx"],
    ]
    calls = api.ledger.ListCalls(pb.ListCallsRequest()).calls
    assert nano_usd(answer.total.cost) == sum(nano_usd(call.cost) for call in calls) > 0
    assert sum(nano_usd(row.cost) for row in answer.rows) == nano_usd(answer.total.cost)
    assert answer.total.calls == sum(row.calls for row in answer.rows) == 9
    assert answer.total.input_tokens == sum(call.input_tokens for call in calls)
    assert answer.total.output_tokens == sum(call.output_tokens for call in calls)
    assert answer.total.unpriced_calls == 1
    assert not next(call for call in calls if call.id == "reservation-9").HasField("cost")


def test_usage_is_cut_by_time_and_by_filter(api: Api) -> None:
    api.book(
        call_fields(1, time="2026-11-23T19:59:59.999Z"),
        call_fields(2, time="2026-11-23T20:00:00.000Z", team="b"),
        call_fields(3, time="2026-11-23T21:00:00.000Z"),
    )

    def calls(**asked: Any) -> int:
        return int(api.ledger.QueryUsage(pb.QueryUsageRequest(**asked)).total.calls)

    def at(text: str) -> Timestamp:
        moment = Timestamp()
        moment.FromJsonString(text)
        return moment

    assert calls() == 3
    assert calls(start_time=at("2026-11-23T20:30:00Z")) == 2
    assert calls(end_time=at("2026-11-23T21:00:00Z")) == 2
    assert calls(start_time=at("2026-11-23T20:00:00Z"), end_time=at("2026-11-23T20:30:00Z")) == 1
    assert calls(filter="team=b") == 1
    assert calls(filter="team=b,provider=lab") == 0
    assert calls(filter="model=gpt-4o, status=2xx ,model_served=openai/gpt-4o") == 3
    hours = api.ledger.QueryUsage(pb.QueryUsageRequest(group_by=by("hour"))).rows
    assert sorted(row.values[0] for row in hours) == [
        "2026-11-23T19:00:00Z",
        "2026-11-23T20:00:00Z",
        "2026-11-23T21:00:00Z",
    ]


def test_nothing_is_no_row_and_a_total_of_nothing(api: Api) -> None:
    answer = api.ledger.QueryUsage(pb.QueryUsageRequest(group_by=by("team")))
    alone = api.ledger.QueryUsage(pb.QueryUsageRequest())

    assert (len(answer.rows), answer.total.calls) == (0, 0)
    assert (len(alone.rows), alone.total.calls) == (0, 0)


@pytest.mark.parametrize(
    "request_",
    [
        pb.QueryUsageRequest(group_by=UNHEARD),
        pb.QueryUsageRequest(group_by=by("team", "team")),
        pb.QueryUsageRequest(filter="team"),
        pb.QueryUsageRequest(filter="colour=red"),
        pb.QueryUsageRequest(filter="day=2026-11-23"),
        pb.QueryUsageRequest(filter=",".join(["team=a"] * 17)),
        pb.QueryUsageRequest(start_time=Timestamp(seconds=7_200), end_time=Timestamp(seconds=1)),
    ],
)
def test_a_wrong_question_is_refused_by_name(api: Api, request_: pb.QueryUsageRequest) -> None:
    assert refused(api.ledger.QueryUsage, request_) is grpc.StatusCode.INVALID_ARGUMENT


def test_calls_are_paged_newest_first_without_gap_or_overlap(api: Api) -> None:
    # Three calls share each millisecond, so a page ends between equals.
    api.book(*(call_fields(number, time=f"2026-11-23T20:00:00.{number // 3:03d}Z") for number in range(20)))

    seen, token = [], ""
    while True:
        page = api.ledger.ListCalls(pb.ListCallsRequest(page_size=7, page_token=token))
        seen += [call.id for call in page.calls]
        token = page.next_page_token
        if not token:
            break
        api.book(call_fields(100 + len(seen), time="2026-11-23T20:00:01.000Z"))

    assert seen == [f"reservation-{number}" for number in reversed(range(20))]


def test_calls_of_a_time_are_paged_oldest_first_without_gap_or_overlap(api: Api) -> None:
    times = ["19:59:59.999", "20:00:00.000", "20:00:00.000", "20:00:00.001", "20:30:00.000", "21:00:00.000"]
    lines = [call_fields(number, time=f"2026-11-23T{time}Z", run=f"run-{number}") for number, time in enumerate(times)]
    api.book(*reversed(lines))
    asked = pb.ListCallsRequest(page_size=2, oldest_first=True)
    asked.start_time.FromJsonString("2026-11-23T20:00:00Z")
    asked.end_time.FromJsonString("2026-11-23T21:00:00Z")

    seen: list[list[str]] = []
    while not seen or asked.page_token:
        page = api.ledger.ListCalls(asked)
        seen.append([call.run for call in page.calls])
        asked.page_token = page.next_page_token

    assert seen == [["run-2", "run-1"], ["run-3", "run-4"]]
    asked.end_time.FromJsonString("2026-11-23T19:00:00Z")
    assert refused(api.ledger.ListCalls, asked) == grpc.StatusCode.INVALID_ARGUMENT


def test_calls_are_filtered(api: Api) -> None:
    api.book(
        call_fields(1), call_fields(2, user="bob@example.com"), call_fields(3, status=0), call_fields(4, status=404)
    )

    def ids(selection: str) -> list[str]:
        return [call.id for call in api.ledger.ListCalls(pb.ListCallsRequest(filter=selection)).calls]

    assert ids("user=bob@example.com") == ["reservation-2"]
    assert ids("status=none") == ["reservation-3"]
    assert ids("status=4xx") == ["reservation-4"]
    assert ids("provider=openai,key=ds-prod") == [f"reservation-{number}" for number in (4, 3, 2, 1)]
    assert ids("provider=open") == []


@pytest.mark.parametrize(
    "request_",
    [
        pb.ListCallsRequest(page_size=-1),
        pb.ListCallsRequest(page_token="\N{SNOWMAN}"),
        pb.ListCallsRequest(page_token=write_token("1.2.3")),
        pb.ListCallsRequest(page_token=write_token("9" * 40 + ".1")),
    ],
)
def test_a_page_that_is_none_is_refused(api: Api, request_: pb.ListCallsRequest) -> None:
    assert refused(api.ledger.ListCalls, request_) is grpc.StatusCode.INVALID_ARGUMENT


def test_one_call_is_found_by_its_id_and_by_envoys(api: Api) -> None:
    api.book(attempt_fields(1, 2), attempt_fields(1, 1, status=500), call_fields(1, attempts=2, cached_tokens="400"))

    call = api.ledger.GetCall(pb.GetCallRequest(id="reservation-1")).call

    assert call == api.ledger.GetCall(pb.GetCallRequest(id="request-1")).call
    assert [(attempt.target, attempt.status) for attempt in call.attempts] == [
        ("openai/gpt-4o", 500),
        ("lab/tiny", 200),
    ]
    assert (call.trace_id, call.latency, call.first_byte_latency) == (f"{1:032x}", duration(850), duration(120))
    assert (call.cached_input_tokens, dict(call.tags)) == (400, {"feature": "search"})
    assert refused(api.ledger.GetCall, pb.GetCallRequest()) is grpc.StatusCode.NOT_FOUND


def test_a_call_says_what_nobody_knew_of_it_and_what_changed_its_price(api: Api) -> None:
    asked = {"unknown_members": "frobnicate,anthropic-beta=warp-9,+3", "price_options": "service_tier=priority"}
    api.book(call_fields(1, **asked), call_fields(2))

    call, plain = api.ledger.ListCalls(pb.ListCallsRequest(oldest_first=True)).calls

    assert list(call.unknown_members) == ["frobnicate", "anthropic-beta=warp-9", "+3"]
    assert list(call.price_options) == ["service_tier=priority"]
    assert (list(plain.unknown_members), list(plain.price_options)) == ([], [])


def test_a_tail_sends_what_is_booked_from_now_on_and_only_what_is_asked_for(api: Api) -> None:
    api.book(call_fields(1, team="b"))
    tail = api.ledger.TailCalls(pb.TailCallsRequest(filter="team=b"))
    tail.initial_metadata()

    api.book(call_fields(2, team="a"), call_fields(3, team="b"))
    api.book(call_fields(4, team="b"))

    assert [next(tail).call.id, next(tail).call.id] == ["reservation-3", "reservation-4"]
    tail.cancel()


def test_tails_leave_room_for_questions(api: Api) -> None:
    tails = [api.ledger.TailCalls(pb.TailCallsRequest()) for _ in range(ledger_service.TAILS_MAX)]
    for tail in tails:
        tail.initial_metadata()

    one_more = api.ledger.TailCalls(pb.TailCallsRequest())
    assert refused(lambda _: next(one_more), None) is grpc.StatusCode.UNAVAILABLE
    assert api.ledger.GetLedgerStatus(pb.GetLedgerStatusRequest()).status.booked_calls == 1
    for tail in tails:
        tail.cancel()


def override(target: str, above_input_tokens: int = 0, **rates: int) -> pb.PriceOverride:
    rows = [price_pb.Rate(meter=name, pico_usd=rate) for name, rate in rates.items()]
    tier = price_pb.PriceTier(above_input_tokens=above_input_tokens, rates=rows)
    return pb.PriceOverride(target=target, price=price_pb.TargetPrice(tiers=[tier]))


def rates_of(tier: price_pb.PriceTier) -> dict[str, int]:
    return {rate.meter: rate.pico_usd for rate in tier.rates}


def test_a_configuration_is_applied_once_and_says_what_it_changed(api: Api) -> None:
    request = pb.ApplyConfigurationRequest(
        prices=[override("lab/tiny", input=2_500_000, output=10_000_000)],
        channels=[pb.AlertChannel(name="ops", webhook="https://example.com/hook")],
    )

    first = api.ledger.ApplyConfiguration(request)

    assert [(change.action, change.kind, change.name) for change in first.changes] == [
        (configuration_pb2.Change.ACTION_CREATE, RESOURCE_KIND_PRICE, "lab/tiny"),
        (configuration_pb2.Change.ACTION_CREATE, RESOURCE_KIND_ALERT_CHANNEL, "ops"),
    ]
    assert "ops" in first.warnings[0]
    assert list(api.ledger.ApplyConfiguration(request).changes) == []


@pytest.mark.parametrize(
    "request_",
    [
        pb.ApplyConfigurationRequest(prices=[override("tiny", input=1, output=1)]),
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", input=-1, output=1)]),
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", input=1, output=1, above_input_tokens=5)]),
        pb.ApplyConfigurationRequest(prices=[pb.PriceOverride(target="lab/tiny")]),
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", output=1)]),
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", input=1, output=1, teleport=1)]),
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", input=1, output=1)] * 2),
        pb.ApplyConfigurationRequest(channels=[pb.AlertChannel(name="ops")]),
        pb.ApplyConfigurationRequest(channels=[pb.AlertChannel(name="ops", url="x://y", webhook="https://z")]),
        pb.ApplyConfigurationRequest(channels=[pb.AlertChannel(name="ops", webhook="ftp://z")]),
        pb.ApplyConfigurationRequest(channels=[pb.AlertChannel(name="o p s", url="x://y")]),
        pb.ApplyConfigurationRequest(channels=[pb.AlertChannel(name="ops", url="x://y", secret_env="a b")]),
    ],
)
def test_a_wrong_configuration_is_refused(api: Api, request_: pb.ApplyConfigurationRequest) -> None:
    assert refused(api.ledger.ApplyConfiguration, request_) is grpc.StatusCode.INVALID_ARGUMENT


def test_prices_are_streamed_at_once_and_again_when_one_changes(api: Api) -> None:
    watched = price_pb.WatchPricesRequest.PricedTarget
    stream = api.prices.WatchPrices(
        price_pb.WatchPricesRequest(
            targets=[
                watched(target="openai/gpt-4o", catalogue_provider="openai", upstream_model="gpt-4o"),
                watched(target="google/pro", catalogue_provider="google", upstream_model="gemini-2.5-pro"),
                watched(target="lab/tiny", upstream_model="tiny"),
            ]
        )
    )

    first = next(stream)
    assert [price.target for price in first.prices] == ["openai/gpt-4o", "google/pro"]
    assert first.prices[0].source.startswith("catalogue 0.")
    assert [
        (tier.above_input_tokens, rates_of(tier)["input"], rates_of(tier)["output"]) for tier in first.prices[1].tiers
    ] == [
        (0, 1_250_000, 10_000_000),
        (200_000, 2_500_000, 15_000_000),
    ]

    api.ledger.ApplyConfiguration(
        pb.ApplyConfigurationRequest(prices=[override("lab/tiny", input=5, output=7, cached_input=0)])
    )
    second = next(stream)
    assert second.version != first.version
    (tier,) = second.prices[2].tiers
    assert rates_of(tier) == {"input": 5, "output": 7, "cached_input": 0}
    assert second.prices[2].source == "override"
    stream.cancel()


OF_TEAM_A = ((ACTOR_HEADER, "team-admin:a:lead"),)


def test_a_team_admin_is_shown_the_calls_of_its_team_alone(api: Api) -> None:
    api.book(*(call_fields(number, team="a") for number in (1, 2)), call_fields(3, team="b"), call_fields(4, team=None))

    usage = api.ledger.QueryUsage(pb.QueryUsageRequest(group_by=by("team")), metadata=OF_TEAM_A)
    assert [(list(row.values), row.calls) for row in usage.rows] == [(["a"], 2)]
    assert usage.total.calls == 2
    calls = api.ledger.ListCalls(pb.ListCallsRequest(), metadata=OF_TEAM_A).calls
    assert {call.attribution.team for call in calls} == {"a"}
    assert api.ledger.GetCall(pb.GetCallRequest(id=calls[0].id), metadata=OF_TEAM_A).call == calls[0]

    others = [call.id for call in api.ledger.ListCalls(pb.ListCallsRequest()).calls if call.attribution.team != "a"]
    denied: list[Callable[[], Any]] = [
        lambda: api.ledger.GetCall(pb.GetCallRequest(id=others[0]), metadata=OF_TEAM_A),
        lambda: api.ledger.GetCall(pb.GetCallRequest(id=others[1]), metadata=OF_TEAM_A),
        lambda: api.ledger.QueryUsage(pb.QueryUsageRequest(filter="team=b"), metadata=OF_TEAM_A),
        lambda: api.ledger.ListCalls(pb.ListCallsRequest(filter="team=b"), metadata=OF_TEAM_A),
        lambda: next(iter(api.ledger.TailCalls(pb.TailCallsRequest(filter="team=b"), metadata=OF_TEAM_A))),
    ]
    for ask in denied:
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
