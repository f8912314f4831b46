"""A quota of a chosen size: so many keys, teams, limits of each call and open reservations.

As a program it serves Checks over gRPC and prints a line when it is ready. On SIGUSR1 it settles what was admitted
since the last time, prints what that took, and goes on. So it holds as many open reservations before each measurement.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
from google.protobuf import struct_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.chassis.database import open_engine
from services.chassis.grpc_server import Registration, build_server
from services.chassis.heap import set_aside
from services.chassis.migrations import migrate
from services.chassis.process import SystemClock
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import REQUEST_NAMESPACE
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.scope import Dimension
from services.kernel.trace_context import ALWAYS
from services.kernel.usage import INPUT, OUTPUT
from services.kernel.window import WindowUnit
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.settlement import Settlement
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
    PriceSnapshot,
    Tier,
    WeightedTarget,
)
from services.quota.domain.routing.probes import Probes
from services.quota.transport.authorization import SERVICE
from services.quota.transport.call_trace import CallTraces
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.check_request import read_check
from services.quota.usecases.admit import AdmissionRequest, AdmissionStores, Admit, Admitted, Outside
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.live import Live
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from services.quota.usecases.settle import Settle
from tests.worlds.memory_allowances import MemoryAllowances
from tests.worlds.memory_expectations import MemoryExpectations
from tests.worlds.memory_key_rates import MemoryKeyRates

PEPPER = bytes(32)
_MODEL = "gpt-4o"
_CALLED_BEFORE = 10_000
"""At most this many keys call before the measurement: fewer than quota remembers limits for."""
_BATCH = 500
"""Settlements that the ledger sends at once."""
_TAKEN_TOKENS = (500, 100)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a quota is."""

    keys: int = 1_000
    teams: int = 10
    """Each with a policy of its own."""
    limits: int = 3
    """That apply to each call: of its team, of its key, and the others of the organization."""
    open: int = 0
    """Reservations that are open all the time."""

    @property
    def called_before(self) -> int:
        """Keys that called before the measurement, the lowest numbers."""
        return min(self.keys, _CALLED_BEFORE)


@dataclass(frozen=True, slots=True)
class Ready:
    """What a quota tells when it serves."""

    address: str
    start_s: float
    """CPU time of reading the counters and open reservations from its file."""


class _Room:
    """A disk with room."""

    def is_low(self) -> bool:
        return False


class Quota:
    """Admits and settles, over a file of its own."""

    def __init__(self, size: Size, folder: Path) -> None:
        path = folder / "quota.sqlite"
        engine = open_engine(path)
        migrate(engine, "services.quota")
        engine.dispose()
        self._clock = SystemClock()
        self._live = Live(_directory(size))
        self._live.set_plan(_plan())
        self._live.set_prices(PriceSnapshot("1", {"openai/gpt-4o": _price()}))
        self._allow = AllowWriter(lambda _: 0)
        self._traces = CallTraces(ALWAYS, lambda: time.time_ns() // 1_000)
        self._file = SqliteFile(path)
        self._admitted: list[str] = []
        self._admit, self._settle = _use_cases(self._live, SqliteCounters(self._file), self._clock)
        for number in range(size.open):
            self.answer(check_message(number % size.keys))
        self._admitted.clear()
        began_s = time.thread_time()
        counters = SqliteCounters(self._file)
        self.start_s = time.thread_time() - began_s
        self._admit, self._settle = _use_cases(self._live, counters, self._clock)

    def answer(self, message: bytes) -> bytes:
        """The answer to a Check, which must be to admit it."""
        check = read_check(message)
        assert check.scan is not None
        scan = check.scan
        outcome = self._admit(
            AdmissionRequest(check.credential, check.request_id, "e-1", scan.dialect, scan.model, scan.facts)
        )
        assert isinstance(outcome, Admitted), outcome
        self._admitted.append(outcome.reservation.id)
        return self._allow.write(outcome, check, self._traces.begin(check))

    def settle_admitted(self) -> float:
        """Settles what was admitted since the last time. Returns the microseconds of CPU time that one call took."""
        admitted, self._admitted = self._admitted, []
        input_tokens, output_tokens = _TAKEN_TOKENS
        began_s = time.thread_time()
        for at in range(0, len(admitted), _BATCH):
            self._settle(
                [
                    Settlement(each, 2_000_000, input_tokens, output_tokens, self._clock.now_ms(), reported=True)
                    for each in admitted[at : at + _BATCH]
                ],
                crossings_after=0,
            )
        return (time.thread_time() - began_s) / max(1, len(admitted)) * 1e6


def _use_cases(live: Live, counters: SqliteCounters, clock: SystemClock) -> tuple[Admit, Settle]:
    recent = RecentCalls(MemoryExpectations(), PolicyMatches(), SettlementLag(), Contention(), Probes(), BudgetLeads())
    admit = Admit(
        live=live,
        authenticate=Authenticate(live, clock, PEPPER),
        stores=AdmissionStores(counters, MemoryAllowances(), _Room()),
        recent=recent,
        outside=Outside(clock, os.urandom, lambda _: 0),
    )
    settle = Settle(
        live=live, reservations=counters, crossings=counters, recent=recent, rates=MemoryKeyRates(), clock=clock
    )
    return admit, settle


def check_message(number: int) -> bytes:
    """A Check by the key of this number."""
    request = auth_pb.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "POST", "/v1/chat/completions"
    http.headers.update({"x-request-id": f"request-{number}", "authorization": f"Bearer {_secret(number)}"})
    scan = struct_pb2.Struct()
    scan.update({"dialect": "openai", "model": _MODEL, "body_bytes": 2_000, "max_output_tokens": 500})
    request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].CopyFrom(scan)
    return request.SerializeToString()


def main() -> None:
    """Serves the size that the first argument describes, from the folder that the second names."""
    size, folder = Size(**json.loads(sys.argv[1])), Path(sys.argv[2])
    quota = Quota(size, folder)
    for number in range(size.called_before):
        quota.answer(check_message(number))
    quota.settle_admitted()
    address = f"unix:{folder}/check.sock"
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Check": grpc.unary_unary_rpc_method_handler(lambda message, _context: quota.answer(message))
    }
    handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
    registration = Registration(SERVICE, lambda server: server.add_generic_rpc_handlers((handler,)))
    server = build_server(address, [registration], workers=4, reflect=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    server.start()
    set_aside()
    print(json.dumps(asdict(Ready(address, quota.start_s))), flush=True)  # noqa: T201  (who started us waits for it)
    while True:
        signal.sigwait({signal.SIGUSR1})
        print(quota.settle_admitted(), flush=True)  # noqa: T201  (the answer)


def _directory(size: Size) -> Directory:
    budget = (Limit(LimitKind.SPEND, 1_000_000 * NANO_PER_USD, WindowUnit.MONTH, "America/New_York"),)
    of_key = QuotaPolicy("each-key", Match(), (Limit(LimitKind.TOKENS, 10**15, WindowUnit.DAY),), each=Dimension.KEY)
    return Directory(
        "acme",
        policies=(
            *(QuotaPolicy(f"all-{number}", Match(), budget) for number in range(size.limits - 2)),
            *((of_key,) if size.limits > 1 else ()),
            *(QuotaPolicy(f"team-{team}", Match(team=f"team-{team}"), budget) for team in range(size.teams)),
        ),
        keys=tuple(
            VirtualKey(
                Attribution(f"key_{number}", f"key-{number}", f"team-{number % size.teams}", "", "prod"),
                digest=digest_of(_secret(number), PEPPER),
            )
            for number in range(size.keys)
        ),
    )


def _secret(number: int) -> str:
    return f"imported-secret-{number:012}"


def _plan() -> PlanSnapshot:
    face = Face(Dialect.OPENAI, "openai.openai", "api.openai.com", "/v1/chat/completions", "max_tokens")
    target = PlannedTarget("openai/gpt-4o", _MODEL, 16_384, 128_000, (face,))
    model = ModelPlan(_MODEL, (Tier(0, (ChainSlot((WeightedTarget(target.name),)),)),))
    return PlanSnapshot("1", {_MODEL: model}, {target.name: target})


def _price() -> Price:
    input_, output = PicoUsdPerToken(2_500_000), PicoUsdPerToken(10_000_000)
    return Price((PriceTier(0, {INPUT: input_, OUTPUT: output}),))


if __name__ == "__main__":
    main()
