"""A Check that nobody waits for any more gives back what it reserved; one that fails lets nothing through."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2_grpc

from services.chassis.unary_server import UnaryServer
from services.kernel.clock import ManualClock
from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.kernel.trace_context import NEVER
from services.kernel.window import WindowUnit
from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey, digest_of
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy
from services.quota.domain.routing.plan import (
    ChainSlot,
    Face,
    ModelPlan,
    PlannedTarget,
    PlanSnapshot,
    Tier,
    WeightedTarget,
)
from services.quota.domain.routing.probes import Probes
from services.quota.ports.counters import Choose, T
from services.quota.transport.admin_gate import AdminGate
from services.quota.transport.authorization import Authorization, Endpoints
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.call_trace import CallTraces
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.models_endpoint import ModelsEndpoint
from services.quota.transport.root_token import RootToken
from services.quota.usecases.admin_tokens import AdminTokens
from services.quota.usecases.admit import AdmissionStores, Admit, Outside
from services.quota.usecases.amend import Amend
from services.quota.usecases.authenticate import Authenticate, ListModels
from services.quota.usecases.live import Live
from services.quota.usecases.own_budget import ReadOwnBudget
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from services.quota.usecases.settle import Release
from tests.worlds.memory_allowances import MemoryAllowances
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_directory import MemoryDirectory
from tests.worlds.memory_expectations import MemoryExpectations
from tests.worlds.quota_process import MODEL, SECRET, call

PEPPER = bytes(32)
PATIENCE_S = 5


class HeldCounters(MemoryCounters):
    """Reserves only when it is let to, or fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.let = threading.Event()
        self.let.set()
        self.released = threading.Event()
        self.failure: Exception | None = None

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        self.entered.set()
        assert self.let.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        return super().reserve(counters, choose)

    def release(self, reservation_ids: Collection[str] = (), request_ids: Collection[str] = ()) -> int:
        count = super().release(reservation_ids, request_ids)
        if count:
            self.released.set()
        return count


class Roomy:
    def is_low(self) -> bool:
        return False


def live() -> Live:
    key = VirtualKey(Attribution("key_1", "ds-prod", team="data-science"), digest=digest_of(SECRET, PEPPER))
    limit = Limit(LimitKind.REQUESTS, 10, WindowUnit.DAY)
    made = Live(Directory("acme", policies=(QuotaPolicy("day", Match(), (limit,)),), keys=(key,)))
    face = Face(Dialect.OPENAI, "lab.openai", "lab.example", "/v1/chat/completions")
    target = PlannedTarget("lab/tiny", "tiny", 100, 1_000, (face,))
    plan = ModelPlan(MODEL, (Tier(0, (ChainSlot((WeightedTarget("lab/tiny"),)),)),))
    made.set_plan(PlanSnapshot("v1", {MODEL: plan}, {"lab/tiny": target}))
    return made


class Gate:
    """An ext_authz server over counters that a test holds."""

    def __init__(self) -> None:
        self.counters = HeldCounters()
        self.folder = Path(tempfile.mkdtemp(prefix="q"))
        clock, snapshot = ManualClock(), live()
        authenticate = Authenticate(snapshot, clock, PEPPER)
        admit = Admit(
            live=snapshot,
            authenticate=authenticate,
            stores=AdmissionStores(self.counters, MemoryAllowances(), Roomy()),
            recent=RecentCalls(
                MemoryExpectations(), PolicyMatches(), SettlementLag(), Contention(), Probes(), BudgetLeads()
            ),
            outside=Outside(clock, bytes, lambda _: 0),
        )
        amend = Amend(store=MemoryDirectory(), live=snapshot, adoption=MemoryCounters(), clock=clock)
        tokens = AdminTokens(amend=amend, live=snapshot, clock=clock, entropy=bytes, pepper=PEPPER)
        checks = Authorization(
            admit=admit,
            authenticate=authenticate,
            release=Release(self.counters),
            endpoints=Endpoints(
                models=ModelsEndpoint(ListModels(authenticate)),
                budget=BudgetEndpoint(ReadOwnBudget(authenticate=authenticate, counters=self.counters, clock=clock)),
                admin=AdminGate(RootToken(self.folder / "admin-token"), tokens, clock),
            ),
            allow=AllowWriter(lambda _: 0),
            traces=CallTraces(NEVER, lambda: 0),
        )
        address = f"unix:{self.folder}/quota.sock"
        self._server = UnaryServer("the server of Checks", address, checks.handlers, grace_s=0)
        self._server.start()
        self._channel = grpc.insecure_channel(address)
        self.check: Any = external_auth_pb2_grpc.AuthorizationStub(self._channel).Check

    def close(self) -> None:
        self.counters.let.set()
        self._channel.close()
        self._server.stop()
        shutil.rmtree(self.folder)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


def test_a_check_that_was_cancelled_while_it_reserved_releases_itself(gate: Gate) -> None:
    gate.counters.let.clear()
    asked = gate.check.future(call())
    assert gate.counters.entered.wait(PATIENCE_S)
    asked.cancel()
    # The server learns of a cancellation a moment after the client asked for it.
    threading.Timer(0.2, gate.counters.let.set).start()
    assert gate.counters.released.wait(PATIENCE_S)
    assert gate.counters.open_count() == 0


def test_a_check_that_ran_out_of_time_while_it_reserved_releases_itself(gate: Gate) -> None:
    gate.counters.let.clear()
    with pytest.raises(grpc.RpcError) as raised:
        gate.check(call(), timeout=0.1)
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    threading.Timer(0.2, gate.counters.let.set).start()
    assert gate.counters.released.wait(PATIENCE_S)
    assert gate.counters.open_count() == 0


def test_a_check_that_is_waited_for_keeps_its_reservation(gate: Gate) -> None:
    gate.check(call())
    assert gate.counters.open_count() == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/chat/completions", lambda error: error["code"]),
        ("/v1/messages", lambda error: error["details"]["error_code"]),
        ("/v1beta/models/tiny:generateContent", lambda error: error["details"][0]["metadata"]["code"]),
    ],
)
def test_what_goes_wrong_inside_lets_nothing_through_and_tells_no_secret(
    gate: Gate, caplog: pytest.LogCaptureFixture, path: str, code: Any
) -> None:
    gate.counters.failure = RuntimeError("a fault of ours")
    with caplog.at_level(logging.ERROR):
        response: auth_pb.CheckResponse = gate.check(call(path=path))
    assert response.denied_response.status.code == 503
    assert code(json.loads(response.denied_response.body)["error"]) == "policy_unavailable"
    assert "a fault of ours" in caplog.text
    assert "a fault of ours" not in response.denied_response.body
    assert SECRET not in caplog.text
