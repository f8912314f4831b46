"""A real ledger process and a quota whose counters are wrong, or gone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from spendgate.quota.v1 import counter_service_pb2 as counters_pb
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.type.v1 import dimension_pb2

from services.chassis.metrics import Gauge, send_gauges
from tests.worlds.ledger_process import ScriptedQuota, eventually, running, serving
from tests.worlds.spool_lines import EPOCH, call_fields, write_lines

START, END = Timestamp(seconds=1_793_491_200), Timestamp(seconds=1_796_083_200)


def listed(kind: quota_pb.LimitKind.ValueType, limit: str, settled: int) -> counters_pb.ListCountersResponse:
    return counters_pb.ListCountersResponse(
        limit=counters_pb.CountedLimit(
            policy="ds",
            limit_id=limit,
            limit_kind=kind,
            parts=[counters_pb.ScopePart(dimension=dimension_pb2.DIMENSION_TEAM, value="data-science")],
            window_start_time=START,
            window_end_time=END,
            retain_until_time=END,
        ),
        counters=[counters_pb.SettledScope(scope="team=data-science", settled=settled)],
    )


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[ScriptedQuota]:
    scripted = ScriptedQuota(
        counters=[
            listed(quota_pb.LIMIT_KIND_TOKENS, "tokens/month/UTC", 9),
            listed(quota_pb.LIMIT_KIND_SPEND, "spend/month/UTC", 9),
        ]
    )
    with serving(scripted, tmp_path):
        yield scripted


def test_counters_are_repaired_after_everything_booked_is_settled(tmp_path: Path, quota: ScriptedQuota) -> None:
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    wrong, quota.counters = quota.counters, []
    with running(tmp_path, SPENDGATE_DRIFT_CHECK_S="1") as ledger:
        # Before its first call is booked a ledger knows what was spent: nothing.
        eventually(lambda: len(quota.settled) == 3 and ledger.status().unsettled_calls == 0)
        quota.counters = wrong

        eventually(lambda: any(each.after == 3_300 for each in quota.adjusted))
        eventually(lambda: ledger.status().unpriced_counters == 1)

        status = ledger.status()
        assert len(quota.settled) == 3
        # Nobody told this ledger what the target costs: the spend is left alone.
        assert {each.counter.limit_id for each in quota.adjusted} == {"tokens/month/UTC"}
        assert {each.counter.scope for each in quota.adjusted} == {"team=data-science"}
        assert (status.checked_counters, status.drift_nano_usd) == (1, 0)
        assert status.HasField("check_time")


def test_lost_counters_are_restored_before_anything_is_settled(tmp_path: Path, quota: ScriptedQuota) -> None:
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    with running(tmp_path) as ledger:
        eventually(lambda: len(quota.settled) == 3)
        eventually(lambda: ledger.status().unsettled_calls == 0)
        quota.ready = False

        eventually(lambda: quota.ready)

    assert {(each.counter.limit_id, each.settled) for each in quota.restored} == {
        ("tokens/month/UTC", 3_300),
        ("spend/month/UTC", 0),
    }


def test_what_is_held_for_settled_calls_is_released_and_what_is_not_booked_stays(
    tmp_path: Path, quota: ScriptedQuota
) -> None:
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    with running(tmp_path, SPENDGATE_DRIFT_CHECK_S="1") as ledger:
        eventually(lambda: ledger.status().unsettled_calls == 0 and len(quota.settled) == 3)
        quota.open = ["reservation-0", "reservation-2", "reservation-7"]

        eventually(lambda: ledger.status().swept_reservations == 2)

    assert quota.open == ["reservation-7"]


def test_after_lost_counters_were_restored_nobody_waits_for_the_next_comparison(
    tmp_path: Path, quota: ScriptedQuota
) -> None:
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    with running(tmp_path, SPENDGATE_DRIFT_CHECK_S="3600") as ledger:
        eventually(lambda: ledger.status().unsettled_calls == 0 and ledger.status().HasField("check_time"))
        quota.open, quota.ready = ["reservation-1"], False

        eventually(lambda: quota.ready and not quota.open)


def test_what_was_settled_before_the_loss_is_not_put_back(tmp_path: Path, quota: ScriptedQuota) -> None:
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    with running(tmp_path) as ledger:
        eventually(lambda: len(quota.settled) == 3)
        eventually(lambda: ledger.status().unsettled_calls == 0)
        settled = min(quota.settled)
        quota.held = [settled, "rsv_of_a_call_in_flight"]
        quota.ready = False

        eventually(lambda: quota.ready)

    assert quota.ended == [settled]


def test_what_quota_had_ended_without_being_heard_is_in_the_sums_and_the_rest_is_settled_afterwards(
    tmp_path: Path, quota: ScriptedQuota
) -> None:
    quota.deaf = True
    write_lines(tmp_path / "spool" / f"{EPOCH}.jsonl", [call_fields(number) for number in range(3)])
    with running(tmp_path) as ledger:
        eventually(lambda: ledger.status().booked_calls == 3)
        quota.held = ["reservation-0"]
        quota.ready = quota.deaf = False

        eventually(lambda: ledger.status().unsettled_calls == 0)

    assert ("tokens/month/UTC", 2 * 1_100) in {(each.counter.limit_id, each.settled) for each in quota.restored}
    assert set(quota.settled) == {"reservation-0"}
    assert quota.ended == []


class Receiver(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the gauges that it is sent."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.values[metric.name] = metric.gauge.data_points[0].as_int
        return metrics_service_pb2.ExportMetricsServiceResponse()


def test_gauges_are_sent_to_the_receiver_as_they_are_then() -> None:
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    drift = [1]
    gauge = Gauge("spendgate_drift_nano_usd", "{nano-USD}", "How far off", lambda: drift[0])

    stop = send_gauges("spendgate-ledger", address, [gauge])
    drift[0] = 2
    stop()
    server.stop(None).wait()

    assert receiver.values == {"spendgate_drift_nano_usd": 2}
