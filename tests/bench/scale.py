"""What a Check costs quota as keys and policies grow, asked over gRPC by another process.

Keys call in random order. The first call of a key finds its limits and opens its counter, whether it is one of ten
keys or of a million; so keys that called before are compared with their like, and first calls have a row of their own.
Three limits apply to each call whatever the size: one of the organization, one of the key's team, and one of the key
itself.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median

import grpc
from google.protobuf import struct_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.chassis.database import migrate, open_engine
from services.chassis.grpc_server import Registration, build_server, open_channel
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
from services.quota.adapters.memory_allowances import MemoryAllowances
from services.quota.adapters.memory_expectations import MemoryExpectations
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.contention import Contention
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
from services.quota.transport.authorization import SERVICE
from services.quota.transport.call_trace import CallTraces
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.check_request import read_check
from services.quota.usecases.admit import AdmissionRequest, AdmissionStores, Admit, Admitted, Outside
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.live import Live
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls

CHECKS = 4_000
"""In each round, of each size."""
# A round is divided into this many parts, taken in turn, so that a busy machine slows all sizes equally.
_TURNS = 4
_PEPPER = bytes(32)
# At most this many keys call before the measurement: fewer than quota caches limits for.
_CALLED_BEFORE = 10_000
_MODEL = "gpt-4o"


@dataclass(frozen=True, slots=True)
class Scale:
    """One size, measured."""

    keys: int
    policies: int
    first_calls: bool
    """True: none of the calling keys called before. False: all of them did."""
    check_us: float
    """CPU time of a Check in quota's process, median of all turns."""


class _Room:
    """A disk with room."""

    def is_low(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class _Callers:
    """Keys of one quota, drawn at random."""

    quota: _Quota
    first_calls: bool = False
    """Draws keys that have not called yet, except for the few that are drawn twice."""

    def draw(self, luck: Random, checks: int) -> Sequence[int]:
        """The numbers of the keys that ask next."""
        before = self.quota.called_before
        return luck.choices(range(before, self.quota.keys) if self.first_calls else range(before), k=checks)


def measure(rounds: int) -> list[list[Scale]]:
    """Measures all sizes. Compare those of one list with its first."""
    with _quota(10, 10) as few, _quota(1_000_000, 10) as many:
        by_keys = _in_turn([_Callers(few), _Callers(many), _Callers(many, first_calls=True)], rounds)
    with _quota(1_000, 10) as few, _quota(1_000, 10_000) as many:
        by_policies = _in_turn([_Callers(few), _Callers(many)], rounds)
    return [by_keys, by_policies]


def _in_turn(callers: Sequence[_Callers], rounds: int) -> list[Scale]:
    luck = Random(1)
    with ProcessPoolExecutor(1, get_context("spawn")) as client:
        client.submit(os.getpid).result()
        for each in callers:
            if not each.first_calls:
                each.quota.run(client, range(each.quota.called_before))
        turns = [
            [each.quota.run(client, each.draw(luck, CHECKS // _TURNS)) for each in callers]
            for _ in range(1 + rounds * _TURNS)
        ]
    # The first turn is for warming up.
    return [
        Scale(each.quota.keys, each.quota.policies, each.first_calls, median(times))
        for each, times in zip(callers, zip(*turns[1:], strict=True), strict=True)
    ]


class _Quota:
    """A server of Checks in this process, which does nothing else while it is asked."""

    def __init__(self, admit: Admit, keys: int, policies: int, folder: Path) -> None:
        self.keys = keys
        self.policies = policies
        self.called_before = min(keys, _CALLED_BEFORE)
        self._admit = admit
        self._allow = AllowWriter(lambda _: 0)
        self._traces = CallTraces(ALWAYS, lambda: time.time_ns() // 1_000)
        self._address = f"unix:{folder}/check.sock"
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check)
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
        registration = Registration(SERVICE, lambda server: server.add_generic_rpc_handlers((handler,)))
        self._server = build_server(self._address, [registration], workers=4, reflect=False)
        self._server.start()

    def run(self, client: Executor, keys: Sequence[int]) -> float:
        """Microseconds of CPU time of a Check, of the keys with these numbers."""
        asked = [_check(number) for number in keys]
        before = time.process_time()
        client.submit(_ask, self._address, asked).result()
        return (time.process_time() - before) / len(asked) * 1e6

    def close(self) -> None:
        """Stops answering."""
        self._server.stop(None).wait()

    def _check(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        check = read_check(message)
        assert check.scan is not None
        assert context.is_active()
        scan = check.scan
        outcome = self._admit(
            AdmissionRequest(check.credential, check.request_id, "e-1", scan.dialect, scan.model, scan.facts)
        )
        assert isinstance(outcome, Admitted), outcome
        return self._allow.write(outcome, check, self._traces.begin(check))


def _ask(address: str, messages: list[bytes]) -> None:
    """Asks all of them, eight at a time. Runs in a process of its own."""
    with open_channel(address) as channel, ThreadPoolExecutor(8) as threads:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Check")
        for _ in threads.map(check, messages):
            pass


@contextmanager
def _quota(keys: int, policies: int) -> Iterator[_Quota]:
    """A quota over a file of its own, with so many keys and policies."""
    with tempfile.TemporaryDirectory(prefix="spendgate-scale-") as folder:
        path = Path(folder) / "quota.sqlite"
        engine = open_engine(path)
        migrate(engine, "services.quota")
        engine.dispose()
        file = SqliteFile(path)
        clock = SystemClock()
        live = Live(_directory(keys, policies))
        live.set_plan(_plan())
        live.set_prices(PriceSnapshot("1", {"openai/gpt-4o": _price()}))
        admit = Admit(
            live=live,
            authenticate=Authenticate(live, clock, _PEPPER),
            stores=AdmissionStores(SqliteCounters(file), MemoryAllowances(), _Room()),
            recent=RecentCalls(MemoryExpectations(), PolicyMatches(), SettlementLag(), Contention()),
            outside=Outside(clock, os.urandom, lambda _: 0),
        )
        quota = _Quota(admit, keys, policies, Path(folder))
        yield quota
        quota.close()
        file.close()


def _directory(keys: int, policies: int) -> Directory:
    teams = policies - 2
    budget = (Limit(LimitKind.SPEND, 1_000_000 * NANO_PER_USD, WindowUnit.MONTH, "America/New_York"),)
    return Directory(
        "acme",
        policies=(
            QuotaPolicy("all", Match(), budget),
            QuotaPolicy("each-key", Match(), (Limit(LimitKind.TOKENS, 10**15, WindowUnit.DAY),), each=Dimension.KEY),
            *(QuotaPolicy(f"team-{team}", Match(team=f"team-{team}"), budget) for team in range(teams)),
        ),
        keys=tuple(
            VirtualKey(
                Attribution(f"key_{number}", f"key-{number}", f"team-{number % teams}", "", "prod"),
                digest=digest_of(_secret(number), _PEPPER),
            )
            for number in range(keys)
        ),
    )


def _secret(number: int) -> str:
    return f"imported-secret-{number:012}"


def _check(number: int) -> bytes:
    request = auth_pb.CheckRequest()
    http = request.attributes.request.http
    http.method, http.path = "POST", "/v1/chat/completions"
    http.headers.update({"x-request-id": f"request-{number}", "authorization": f"Bearer {_secret(number)}"})
    scan = struct_pb2.Struct()
    scan.update({"dialect": "openai", "model": _MODEL, "body_bytes": 2_000, "max_output_tokens": 500})
    request.attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].CopyFrom(scan)
    return request.SerializeToString()


def _plan() -> PlanSnapshot:
    face = Face(Dialect.OPENAI, "openai.openai", "api.openai.com", "/v1/chat/completions", "max_tokens")
    target = PlannedTarget("openai/gpt-4o", _MODEL, 16_384, 128_000, (face,))
    model = ModelPlan(_MODEL, (Tier(0, (ChainSlot((WeightedTarget(target.name),)),)),))
    return PlanSnapshot("1", {_MODEL: model}, {target.name: target})


def _price() -> Price:
    input_, output = PicoUsdPerToken(2_500_000), PicoUsdPerToken(10_000_000)
    return Price((PriceTier(0, {INPUT: input_, OUTPUT: output}),))
