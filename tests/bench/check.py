"""What a Check costs within quota, without gRPC: Python's calls and CPU time, by part.

It asks what Envoy asks for the bench's call, under three policies with four limits, and each call has a durable
reservation. Calls do not depend on the machine's mood: compare those first.

Run `python -m tests.bench.check`. For instructions, run `valgrind --tool=callgrind python -m tests.bench.check --only
400`, and again with 800: the difference is 400 Checks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, NamedTuple
from uuid import UUID

from google.protobuf import struct_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2 as auth_pb

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.chassis.process import SystemClock
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import EPOCH_HEADER, REQUEST_NAMESPACE
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.scope import Dimension
from services.kernel.trace_context import ALWAYS
from services.kernel.usage import CACHED_INPUT, INPUT, OUTPUT
from services.kernel.window import WindowUnit
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.admission.budget_leads import BudgetLeads
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
from services.quota.domain.routing.probes import Probes
from services.quota.ports.counters import CounterStore
from services.quota.transport.authorization import Authorization, Endpoints
from services.quota.transport.call_trace import CallTraces
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.check_request import read_check
from services.quota.usecases.admit import AdmissionRequest, AdmissionStores, Admit, Admitted, Outside
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.live import Live
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from services.quota.usecases.settle import Release
from tests.worlds.memory_allowances import MemoryAllowances
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_expectations import MemoryExpectations

_PEPPER = bytes(32)
_SECRET = f"bench-{'0123456789abcdef' * 2}"
_MODEL = "bench"
_EPOCH = "bench-0000000000001"
_CHECKS = 500
"""In each round. Their reservations end after it."""
_ROUNDS = 9


class Part(NamedTuple):
    """One part of a Check."""

    name: str
    calls: float
    """Function calls, of Python and of C, as `sys.setprofile` counts them."""
    cpu_us: float
    """The median of all rounds."""


class _Room:
    """A disk with room."""

    def is_low(self) -> bool:
        return False


class _Context:
    """The context of a call that somebody waits for."""

    _METADATA = (("user-agent", "envoy"), (EPOCH_HEADER, _EPOCH))

    def is_active(self) -> bool:
        return True

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._METADATA


class Quota:
    """Answers Checks from counters of either kind."""

    def __init__(self, counters: CounterStore) -> None:
        clock, self.live = SystemClock(), Live(_directory())
        self.live.set_plan(_plan())
        self.live.set_prices(PriceSnapshot("1", {name: _price() for name in _plan().targets}))
        authenticate = Authenticate(self.live, clock, _PEPPER)
        self.admit = Admit(
            live=self.live,
            authenticate=authenticate,
            stores=AdmissionStores(counters, MemoryAllowances(), _Room()),
            recent=RecentCalls(
                MemoryExpectations(), PolicyMatches(), SettlementLag(), Contention(), Probes(), BudgetLeads()
            ),
            outside=Outside(clock, os.urandom, lambda _: 0),
        )
        self.allow = AllowWriter(lambda _: 0)
        self.traces = CallTraces(ALWAYS, lambda: time.time_ns() // 1_000)
        # No question of the bench is for an endpoint.
        nowhere: Any = None
        self._authorization = Authorization(
            admit=self.admit,
            authenticate=authenticate,
            release=Release(counters),
            endpoints=Endpoints(nowhere, nowhere, nowhere),
            allow=self.allow,
            traces=self.traces,
        )
        self._context: Any = _Context()

    def check(self, message: bytes) -> bytes:
        """Answers one question."""
        return self._authorization.check(message, self._context)


def measure() -> list[Part]:
    """Measures the parts, and then a whole Check."""
    asked = [question(number) for number in range(_CHECKS)]
    with _sqlite() as counters:
        in_memory, store = MemoryCounters(), counters
        light, whole = Quota(in_memory), Quota(store)
        checks = [read_check(message) for message in asked]
        requests = []
        for check in checks:
            assert check.scan is not None
            scan = check.scan
            requests.append(
                AdmissionRequest(check.credential, check.request_id, _EPOCH, scan.dialect, scan.model, scan.facts)
            )
        admitted = [outcome for outcome in map(light.admit, requests) if isinstance(outcome, Admitted)]
        assert len(admitted) == _CHECKS
        traces = [light.traces.begin(check) for check in checks]

        def end_all() -> None:
            for each in (in_memory, store):
                each.release(each.open_after("", _CHECKS))

        return _in_turn(
            {
                "read the question": lambda at: read_check(asked[at]),
                "decide, in memory": lambda at: light.admit(requests[at]),
                "decide, durable": lambda at: whole.admit(requests[at]),
                "write the answer": lambda at: light.allow.write(admitted[at], checks[at], traces[at]),
                "the whole Check": lambda at: whole.check(asked[at]),
            },
            end_all,
        )


def _in_turn(parts: dict[str, Callable[[int], object]], after_each: Callable[[], None]) -> list[Part]:
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(_ROUNDS):
        for name, run in parts.items():
            began_s = time.thread_time()
            for at in range(_CHECKS):
                run(at)
            times[name].append((time.thread_time() - began_s) / _CHECKS * 1e6)
            after_each()
    counted = []
    for name, run in parts.items():
        counted.append(Part(name, _calls(run), median(times[name])))
        after_each()
    return counted


def _calls(run: Callable[[int], object]) -> float:
    """How many functions a run calls, itself not counted."""
    count = 0

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        for at in range(_CHECKS):
            run(at)
    finally:
        sys.setprofile(None)
    return count / _CHECKS - 1


def question(number: int) -> bytes:
    """What Envoy asks for a call of the bench: the bytes of a CheckRequest."""
    request_id = str(UUID(int=(number + 1) << 64 | number + 1, version=4))
    request = auth_pb.CheckRequest()
    attributes = request.attributes
    attributes.source.address.socket_address.address = "127.0.0.1"
    attributes.source.address.socket_address.port_value = 40_000
    attributes.destination.address.socket_address.address = "127.0.0.1"
    attributes.destination.address.socket_address.port_value = 8_080
    attributes.request.time.GetCurrentTime()
    http = attributes.request.http
    http.id, http.method, http.path, http.host = request_id, "POST", "/v1/chat/completions", "127.0.0.1:8080"
    http.scheme, http.protocol, http.size = "http", "HTTP/1.1", -1
    http.headers.update(
        {"authorization": f"Bearer {_SECRET}", "content-type": "application/json", "x-request-id": request_id}
    )
    scan = struct_pb2.Struct()
    scan.update(
        {
            "dialect": "openai",
            "model": _MODEL,
            "body_bytes": 2_000,
            "max_output_tokens": 100,
            "prefix_1k": "0123456789abcdef",
            "body_print": "fedcba9876543210",
        }
    )
    attributes.metadata_context.filter_metadata[REQUEST_NAMESPACE].CopyFrom(scan)
    return request.SerializeToString()


@contextmanager
def _sqlite() -> Iterator[SqliteCounters]:
    with tempfile.TemporaryDirectory(prefix="spendgate-check-") as folder:
        path = Path(folder) / "quota.sqlite"
        engine = open_engine(path)
        migrate(engine, "services.quota")
        engine.dispose()
        file = SqliteFile(path)
        yield SqliteCounters(file)
        file.close()


def _directory() -> Directory:
    spend = (Limit(LimitKind.SPEND, 1_000_000 * NANO_PER_USD, WindowUnit.MONTH),)
    counts = (
        Limit(LimitKind.TOKENS, 10**12, WindowUnit.DAY),
        Limit(LimitKind.REQUESTS, 10**9, WindowUnit.DAY),
    )
    return Directory(
        "bench",
        policies=(
            QuotaPolicy("team-month", Match(team="bench"), spend),
            QuotaPolicy("team-day", Match(team="bench", environment="prod"), counts),
            QuotaPolicy("every-user", Match(environment="prod"), spend, each=Dimension.USER),
        ),
        keys=(
            VirtualKey(
                Attribution("key_1", "bench", "bench", "bench", "prod", "bench@example.com"),
                digest=digest_of(_SECRET, _PEPPER),
            ),
        ),
    )


def _plan() -> PlanSnapshot:
    face = Face(Dialect.OPENAI, "lab.openai", "api.lab.example", "/v1/chat/completions", "max_tokens")
    targets = [PlannedTarget(f"lab/{name}", name, 0, 0, (face,)) for name in ("bench-model", "bench-small")]
    tiers = tuple(
        Tier(from_basis_points, (ChainSlot((WeightedTarget(target.name),)),))
        for from_basis_points, target in zip((0, 7_500), targets, strict=True)
    )
    return PlanSnapshot("1", {_MODEL: ModelPlan(_MODEL, tiers)}, {target.name: target for target in targets})


def _price() -> Price:
    rates = {INPUT: 2_500_000, CACHED_INPUT: 1_250_000, OUTPUT: 10_000_000}
    return Price((PriceTier(0, {meter: PicoUsdPerToken(rate) for meter, rate in rates.items()}),))


def main() -> None:
    """Prints a table, or answers so many Checks and nothing else."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.check", description=__doc__)
    parser.add_argument("--only", type=int, help="answer so many Checks, for a profiler")
    only = parser.parse_args().only
    if only is None:
        for part in measure():
            print(f"{part.name:<20} {part.calls:6.1f} calls {part.cpu_us:7.1f} us")  # noqa: T201  (the result)
        return
    with _sqlite() as counters:
        quota = Quota(counters)
        for number in range(only):
            quota.check(question(number))


if __name__ == "__main__":
    main()
