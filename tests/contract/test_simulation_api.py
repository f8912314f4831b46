"""Simulations over a real server and their real process: what is replayed, what is refused, and what is left alone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.quota.v1 import simulation_service_pb2 as pb
from spendgate.quota.v1 import simulation_service_pb2_grpc
from spendgate.type.v1 import dialect_pb2
from spendgate.type.v1.attribution_pb2 import Attribution

from services.chassis.well_known import duration, usd
from services.quota.transport.simulation_service import SIMULATIONS_MAX
from tests.contract.test_quota_api import refused
from tests.worlds.quota_process import (
    MODEL,
    QuotaProcess,
    configuration,
    eventually,
    planned_target,
    route_plan,
    spend_policy,
)

WHO = Attribution(key_id="key_1", key="ds-prod", team="data-science", environment="prod", user="ada@example.com")
HALF_A_DOLLAR = usd(500_000_000)

Requests = list[pb.SimulatePoliciesRequest]


@pytest.fixture(scope="module")
def quota() -> Iterator[QuotaProcess]:
    with QuotaProcess() as process:
        process.publish(route_plan("plan-1", {MODEL: [planned_target("lab/tiny")]}))
        yield process


@pytest.fixture
def simulate(quota: QuotaProcess) -> Any:
    return simulation_service_pb2_grpc.SimulationServiceStub(quota.admin_channel).SimulatePolicies


def proposal(*policies: quota_pb.QuotaPolicy) -> pb.SimulatePoliciesRequest:
    return pb.SimulatePoliciesRequest(proposal=pb.Proposal(policies=policies))


def batch(count: int, **changes: Any) -> pb.SimulatePoliciesRequest:
    """Calls one after the other."""
    calls = []
    for number in range(count):
        call = pb.PastCall(
            latency=duration(900), attribution=WHO, model_requested=MODEL, model_served="lab/tiny",
            dialect=dialect_pb2.DIALECT_OPENAI, operation="chat", input_tokens=1_000,
            output_tokens=1_000, cost=HALF_A_DOLLAR,
        )  # fmt: skip
        call.start_time.FromMilliseconds(1_795_464_000_000 + number * 1_000)
        call.MergeFrom(pb.PastCall(**changes))
        calls.append(call)
    return pb.SimulatePoliciesRequest(calls=pb.PastCalls(calls=calls))


def children() -> list[str]:
    """Process ids of the replays that run: this process may have other children."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = [pid for task in tasks for pid in _read(task).split()]
    return [pid for pid in found if "simulation_worker" in _read(Path(f"/proc/{pid}/cmdline"))]


def _read(path: Path) -> str:
    """What /proc says about a thread or process; empty if it has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_budget_of_two_dollars_lets_four_of_ten_calls_of_fifty_cents_pass(simulate: Any) -> None:
    report = simulate(iter([proposal(spend_policy("two-dollars", 2)), batch(10)]))

    assert (report.calls, report.allowed, report.degraded, report.denied, report.unpriced) == (10, 4, 0, 6, 0)
    assert (report.real_cost, report.simulated_cost) == (usd(5_000_000_000), usd(2_000_000_000))
    (limit,), (caller,) = report.limits, report.callers
    assert (limit.policy, limit.limit_kind, limit.window) == ("two-dollars", quota_pb.LIMIT_KIND_SPEND, "month/UTC")
    assert (limit.denied, limit.peak_used_basis_points, limit.saved) == (6, 10_000, usd(3_000_000_000))
    assert limit.first_denied_time.ToMilliseconds() == 1_795_464_000_000 + 4_000
    assert not limit.HasField("first_degraded_time")
    assert (caller.team, caller.key, caller.denied, caller.first_time) == (
        "data-science", "ds-prod", 6, limit.first_denied_time,
    )  # fmt: skip


def test_a_call_with_unknown_members_is_denied_by_a_policy_that_refuses_them(simulate: Any) -> None:
    strict = spend_policy("strict", 9)
    strict.refuses_unknown_members = True
    odd = batch(1, unknown_members=["frobnicate"])

    report = simulate(iter([proposal(strict, spend_policy("roomy", 9)), odd, batch(1)]))

    assert (report.calls, report.allowed, report.denied) == (2, 1, 1)
    (refusing,) = report.unknown_members
    assert (refusing.policy, refusing.denied, refusing.saved) == ("strict", 1, HALF_A_DOLLAR)
    assert refusing.first_denied_time.ToMilliseconds() == 1_795_464_000_000
    assert [limit.denied for limit in report.limits] == [0, 0]


def test_batches_make_one_history_and_an_empty_one_ends_nothing(simulate: Any) -> None:
    empty = pb.SimulatePoliciesRequest(calls=pb.PastCalls())

    report = simulate(iter([proposal(spend_policy("two-dollars", 2)), batch(3), empty, batch(3)]))

    assert (report.calls, report.allowed) == (6, 4)


def test_a_simulation_leaves_policies_counters_and_keys_as_they_are(quota: QuotaProcess, simulate: Any) -> None:
    quota.quota.ApplyConfiguration(configuration(spend_policy("in-force", 3)))
    before = [
        quota.quota.ListQuotaPolicies(quota_pb.ListQuotaPoliciesRequest()),
        quota.quota.ListBudgets(quota_pb.ListBudgetsRequest()),
        quota.quota.ListVirtualKeys(quota_pb.ListVirtualKeysRequest()),
        quota.quota.GetQuotaStatus(quota_pb.GetQuotaStatusRequest()),
    ]

    simulate(iter([proposal(spend_policy("proposed", 1)), batch(100)]))

    assert before == [
        quota.quota.ListQuotaPolicies(quota_pb.ListQuotaPoliciesRequest()),
        quota.quota.ListBudgets(quota_pb.ListBudgetsRequest()),
        quota.quota.ListVirtualKeys(quota_pb.ListVirtualKeysRequest()),
        quota.quota.GetQuotaStatus(quota_pb.GetQuotaStatusRequest()),
    ]


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([], "proposal"),
        ([batch(1)], "proposal"),
        ([proposal(quota_pb.QuotaPolicy(name="bare"))], "policies[0].limits"),
        ([proposal(spend_policy("same", 1), spend_policy("same", 2))], "policies[1].name"),
        ([proposal(), proposal()], "calls"),
        ([proposal(), batch(1_001)], "calls.calls"),
        ([proposal(), batch(2, latency=duration(-1_000))], "calls.calls[0].latency"),
        ([proposal(), batch(2, latency=Duration(nanos=1))], "calls.calls[0].latency"),
        ([proposal(), batch(2, dialect=99)], "calls.calls[0].dialect"),
        ([proposal(), batch(2, start_time=Timestamp(seconds=253_402_300_800))], "calls.calls[0].start_time"),
        ([proposal(), batch(2, cached_input_tokens=1_001)], "calls.calls[0]"),
        # A refusal that comes while more is being sent.
        ([proposal(), batch(1, input_tokens=-1), *[batch(1_000)] * 50], "calls.calls[0]"),
    ],
)
def test_what_cannot_be_replayed_is_refused_by_name(simulate: Any, requests: Requests, field: str) -> None:
    code, violations = refused(lambda: simulate(iter(requests)))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [path for path, _ in violations] == [field]


class Talk:
    """A client that sends a batch and says no more until it is told to hang up."""

    def __init__(self, simulate: Any) -> None:
        self._hang_up = threading.Event()
        self.answer = simulate.future(self._parts())

    def _parts(self) -> Iterator[pb.SimulatePoliciesRequest]:
        yield proposal(spend_policy("two-dollars", 2))
        yield batch(1)
        self._hang_up.wait()

    def hang_up(self) -> None:
        self._hang_up.set()

    def break_off(self) -> None:
        self.answer.cancel()
        self._hang_up.set()


def test_only_so_many_simulations_run_at_once_and_one_that_is_broken_off_makes_room(simulate: Any) -> None:
    talks = [Talk(simulate) for _ in range(SIMULATIONS_MAX)]
    eventually(lambda: len(children()) == SIMULATIONS_MAX)
    code, _ = refused(lambda: simulate(iter([proposal()])))
    assert code is grpc.StatusCode.FAILED_PRECONDITION

    for talk in talks:
        talk.break_off()

    eventually(lambda: not children())
    eventually(lambda: simulate.future(iter([proposal(), batch(1)])).exception() is None)
    eventually(lambda: not children())


def test_a_replay_that_dies_is_reported_as_unavailable(simulate: Any) -> None:
    talk = Talk(simulate)
    eventually(lambda: len(children()) == 1)

    os.kill(int(children()[0]), signal.SIGKILL)
    talk.hang_up()

    assert talk.answer.exception().code() is grpc.StatusCode.UNAVAILABLE
