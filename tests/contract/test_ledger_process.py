"""A real ledger process over real files, a real database and a real gRPC quota: what it does when things go wrong."""

from __future__ import annotations

import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.ledger.v1 import ledger_service_pb2_grpc as pb_grpc
from spendgate.quota.v1 import reservation_service_pb2 as quota_pb
from spendgate.type.v1 import attribution_pb2, dialect_pb2

from tests.worlds.ledger_process import LedgerProcess, ScriptedQuota, eventually, running, serving
from tests.worlds.spool_lines import EPOCH, attempt_fields, call_fields, write_lines

LATER = "local-1795464000001"


def live(data_dir: Path, epoch: str = EPOCH) -> Path:
    return data_dir / "spool" / f"{epoch}.jsonl"


def numbers(data_dir: Path, query: str) -> tuple[int, ...]:
    with sqlite3.connect(data_dir / "db" / "ledger.sqlite") as connection:
        (row,) = connection.execute(query).fetchall()
    connection.close()
    return tuple(row)


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[ScriptedQuota]:
    scripted = ScriptedQuota()
    with serving(scripted, tmp_path):
        yield scripted


@pytest.mark.slow
def test_every_line_is_booked_exactly_once_although_the_process_is_killed_again_and_again(
    tmp_path: Path, quota: ScriptedQuota
) -> None:
    count = 50_000
    write_lines(
        live(tmp_path),
        [fields for number in range(count) for fields in (attempt_fields(number), call_fields(number))],
    )
    ledger = LedgerProcess(tmp_path)
    booked_at_kills: list[int] = []
    for _ in range(3):
        ledger.start()
        before = booked_at_kills[-1] if booked_at_kills else 0
        with ledger.channel():
            eventually(lambda: numbers(tmp_path, "select count(*) from entries")[0] > before)  # noqa: B023
        assert ledger.end(signal.SIGKILL) == -signal.SIGKILL
        booked_at_kills.append(numbers(tmp_path, "select count(*) from entries")[0])
    # It was killed in the middle of its work, or this proves nothing.
    assert 0 < booked_at_kills[0] < booked_at_kills[-1] < count

    with running(tmp_path) as last:
        eventually(lambda: last.status().booked_calls == count and last.status().unsettled_calls == 0)
        assert last.end() == 0

    assert numbers(tmp_path, "select count(*), count(distinct id) from entries") == (count, count)
    assert numbers(tmp_path, "select count(*) from attempts") == (count,)
    assert numbers(tmp_path, "select sum(calls), sum(input_tokens), sum(output_tokens) from rollups") == (
        count,
        count * 1_000,
        count * 100,
    )
    assert set(quota.settled) == {f"reservation-{number}" for number in range(count)}


def test_a_call_is_booked_and_settled_within_two_seconds(tmp_path: Path, quota: ScriptedQuota) -> None:
    with running(tmp_path) as ledger, ledger.channel():
        write_lines(live(tmp_path), [call_fields(1)])
        began = time.monotonic()
        eventually(lambda: "reservation-1" in quota.settled)

        assert time.monotonic() - began < 2

    settlement = quota.settled["reservation-1"]
    # Nobody told this ledger what the target costs: unknown, which quota counts as what it held.
    assert settlement.cost_nano_usd == -1
    assert (settlement.input_tokens, settlement.output_tokens, settlement.reported) == (1_000, 100, True)
    assert settlement.end_time.ToMilliseconds() == 1_795_464_000_123 + 850


def test_what_is_booked_while_quota_is_down_is_settled_when_it_is_back(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [call_fields(number) for number in range(700)])
    with running(tmp_path) as ledger:
        eventually(lambda: ledger.status().booked_calls == 700)
        assert ledger.status().unsettled_calls == 700

        quota = ScriptedQuota()
        with serving(quota, tmp_path):
            eventually(lambda: len(quota.settled) == 700)
            eventually(lambda: ledger.status().unsettled_calls == 0)


def test_a_crossing_becomes_one_alert_also_when_the_ledger_starts_anew(tmp_path: Path, quota: ScriptedQuota) -> None:
    start, crossed = Timestamp(seconds=1_795_000_000), Timestamp(seconds=1_795_464_001)
    quota.crossings = [
        quota_pb.Crossing(
            sequence=sequence,
            policy="ds-prod",
            limit="spend per month",
            scope="team=data-science",
            window_start_time=start,
            basis_points=basis_points,
            notify=["ds-lead"],
            cross_time=crossed,
            settled=80,
            bound=100,
            kind=kind,
            excess=excess,
            reservation="reservation-1",
        )
        for sequence, basis_points, kind, excess in (
            (3, 5_000, quota_pb.CROSSING_KIND_UNSPECIFIED, 0),
            (7, 0, quota_pb.CROSSING_KIND_OVERRUN, 20),
            (8, 0, quota_pb.CROSSING_KIND_UNPRICED, 0),
        )
    ]
    for number in (1, 2):
        write_lines(live(tmp_path), [call_fields(number)])
        with running(tmp_path) as ledger, ledger.channel() as channel:
            eventually(lambda: f"reservation-{number}" in quota.settled)  # noqa: B023
            eventually(lambda: ledger.status().unsettled_calls == 0)
            listed = pb_grpc.LedgerServiceStub(channel).ListAlerts(pb.ListAlertsRequest())

            assert [(alert.basis_points, alert.kind, alert.excess) for alert in listed.alerts] == [
                (0, pb.ALERT_KIND_UNPRICED, 0),
                (0, pb.ALERT_KIND_OVERRUN, 20),
                (5_000, pb.ALERT_KIND_THRESHOLD, 0),
            ]
            assert list(listed.alerts[0].recipients) == ["ds-lead"]
            assert {(alert.call, alert.target, alert.key, alert.team) for alert in listed.alerts} == {
                ("reservation-1", "openai/gpt-4o", "ds-prod", "data-science")
            }
            assert not listed.alerts[0].HasField("deliver_time")
            assert listed.alerts[0].window_start_time == start
    assert quota.crossings_after == [0, 8]


def test_a_request_without_a_reservation_is_released(tmp_path: Path, quota: ScriptedQuota) -> None:
    write_lines(live(tmp_path), [call_fields(9, reservation=None, status=0, attempts=0)])

    with running(tmp_path):
        eventually(lambda: quota.released == ["request-9"])

    assert quota.settled == {}


def test_reservations_of_an_envoy_that_died_are_booked_as_expected_and_settled(
    tmp_path: Path, quota: ScriptedQuota
) -> None:
    quota.overdue = [
        quota_pb.OverdueReservation(
            reservation="lost",
            request_id="request-lost",
            attribution=attribution_pb2.Attribution(key_id="key_1", key="ds-prod", team="data-science"),
            model_requested="gpt-4o",
            chain=["lab/tiny", "openai/gpt-4o"],
            expected_input_tokens=900,
            expected_output_tokens=300,
            create_time=Timestamp(seconds=1_795_464_000),
            dialect=dialect_pb2.DIALECT_OPENAI,
            epoch=EPOCH,
        )
    ]
    # The Envoy of the first file is gone, as the second one shows; the call's line never came, an attempt's did.
    write_lines(live(tmp_path), [attempt_fields(1, 1, id="request-lost", status=500)])
    write_lines(live(tmp_path), [attempt_fields(1, 2, id="request-lost", status=0)])
    write_lines(live(tmp_path, LATER), [call_fields(2)])

    with running(tmp_path) as ledger, ledger.channel() as channel:
        eventually(lambda: "lost" in quota.settled)
        call = pb_grpc.LedgerServiceStub(channel).GetCall(pb.GetCallRequest(id="lost")).call

    assert (call.usage_source, call.input_tokens, call.output_tokens) == (pb.USAGE_SOURCE_ESTIMATED, 900, 300)
    assert call.model_served == "openai/gpt-4o"
    assert not quota.settled["lost"].reported
    request = quota.overdue_requests[-1]
    assert list(request.ended_epochs) == [EPOCH]
    assert time.time() - request.booked_through_time.seconds > 900


def test_a_full_disk_loses_nothing(tmp_path: Path, quota: ScriptedQuota) -> None:
    count = 5_000
    ledger = LedgerProcess(tmp_path)
    ledger.start()
    with ledger.channel():
        pass
    assert ledger.end() == 0
    write_lines(live(tmp_path), [call_fields(number) for number in range(count)])

    def no_file_beyond_a_megabyte() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    ledger.start(no_file_beyond_a_megabyte)
    try:
        eventually(lambda: b"OperationalError" in ledger.log.read_bytes())
        assert ledger.status().booked_calls < count
        # The process outlives it and still answers.
        assert ledger.status().spool_backlog_bytes > 0
        ledger.end()
    finally:
        ledger.end_if_running()

    with running(tmp_path) as after:
        eventually(lambda: after.status().booked_calls == count)
        eventually(lambda: len(quota.settled) == count)
    assert numbers(tmp_path, "select count(*) from entries") == (count,)
    assert numbers(tmp_path, "select sum(calls) from rollups") == (count,)


def test_health_and_reflection_are_on(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    with running(tmp_path) as ledger, ledger.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "spendgate.ledger.v1.LedgerService", "spendgate.ledger.v1.PriceBookService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            pb_grpc.LedgerServiceStub(channel).GetCall(pb.GetCallRequest(id="nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
