"""A small organisation with a plan and prices, over stores in memory or any others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from services.kernel.clock import ManualClock
from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD, NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import INPUT, OUTPUT
from services.kernel.window import WindowUnit
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.directory.adoption import Adoption, renamed_between
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey, digest_of
from services.quota.domain.policies.denial import Deny
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
from services.quota.usecases.admit import AdmissionRequest, AdmissionStores, Admit, Admitted, Outside
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.live import Live
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from services.quota.usecases.settle import ListOpen, ListOverdue, Release, Settle, SettleResult
from tests.worlds.memory_allowances import MemoryAllowances
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_expectations import MemoryExpectations
from tests.worlds.memory_key_rates import MemoryKeyRates

PEPPER = bytes(range(32))
SECRET = "a-secret-from-elsewhere"
EPOCH = "local-1795464000000"
MAX_STREAM_MS = 900_000
ADA = Attribution("key_ada", "ds-prod", "data-science", "forecasting", "prod", "ada@example.com")
ADAS_KEY = VirtualKey(ADA, digest=digest_of(SECRET, PEPPER), unlimited=True)
# A call of these facts at `DEAR` holds 1 000 x $1 + 1 000 x $9 per million tokens: one cent exactly.
CENT = NANO_PER_USD // 100
CENT_FACTS = RequestFacts(body_bytes=1_000, max_output_tokens=1_000)


def price(input_: int, output: int) -> Price:
    """A price in pico-USD per token."""
    return Price((PriceTier(0, {INPUT: PicoUsdPerToken(input_), OUTPUT: PicoUsdPerToken(output)}),))


DEAR = price(1_000_000, 9_000_000)
CHEAP = price(100_000, 900_000)


def target(name: str, *dialects: Dialect, max_output_tokens: int = 4_096, window: int = 128_000) -> PlannedTarget:
    """A target with a face for each dialect."""
    faces = tuple(
        Face(dialect, f"{name.partition('/')[0]}.{dialect}", "host", "/path", "max_tokens")
        for dialect in dialects or (Dialect.OPENAI,)
    )
    return PlannedTarget(name, name.partition("/")[2], max_output_tokens, window, faces)


def tier(from_basis_points: int, *chain: str | Sequence[tuple[str, int]]) -> Tier:
    """A tier; a place of several equals is a list of targets with their weights."""
    slots = [
        ChainSlot((WeightedTarget(place),))
        if isinstance(place, str)
        else ChainSlot(tuple(WeightedTarget(*each) for each in place))
        for place in chain
    ]
    return Tier(from_basis_points, tuple(slots))


def spend(name: str, usd_cents: int, per: WindowUnit = WindowUnit.MONTH, match: Match | None = None) -> QuotaPolicy:
    """A policy with one spend limit."""
    return QuotaPolicy(name, match or Match(), (Limit(LimitKind.SPEND, usd_cents * CENT, per),))


def counting(name: str, kind: LimitKind, bound: int, per: WindowUnit = WindowUnit.DAY) -> QuotaPolicy:
    """A policy with one limit that is not money."""
    return QuotaPolicy(name, Match(), (Limit(kind, bound, per),))


PLAN = PlanSnapshot(
    "plan-1",
    models={
        "dear": ModelPlan("dear", (tier(0, "lab/dear"),)),
        "tiered": ModelPlan("tiered", (tier(0, "lab/dear"), tier(7_500, "lab/cheap"))),
        "chained": ModelPlan("chained", (tier(0, "lab/dear", "lab/cheap"),)),
        "unpriced": ModelPlan("unpriced", (tier(0, "lab/unpriced"),)),
        "claude": ModelPlan("claude", (tier(0, "lab/claude"),)),
        "keyless": ModelPlan("keyless", (), providers_without_credential=("anthropic",)),
    },
    targets={
        each.name: each
        for each in (
            target("lab/dear"),
            target("lab/cheap"),
            target("lab/unpriced"),
            target("lab/claude", Dialect.ANTHROPIC),
        )
    },
)
PRICES = PriceSnapshot("prices-1", {"lab/dear": DEAR, "lab/cheap": CHEAP, "lab/claude": DEAR})


class Disk:
    """`ports.DiskSpace` that is told."""

    low = False

    def is_low(self) -> bool:
        return self.low


def numbers(first: int) -> Iterator[int]:
    number = first
    while True:
        number += 1
        yield number


@dataclass
class World:
    """Everything that `Admit` and `Settle` need."""

    policies: tuple[QuotaPolicy, ...] = ()
    key: VirtualKey = ADAS_KEY
    counters: MemoryCounters | SqliteCounters | RedisCounters = field(default_factory=MemoryCounters)
    allowances: MemoryAllowances = field(default_factory=MemoryAllowances)
    quotas: int = 1
    first_number: int = 0
    """Reservations are numbered after this one: those of several quotas must differ."""
    catch_up: Callable[[], object] = lambda: None
    expectations: MemoryExpectations = field(default_factory=MemoryExpectations)
    rates: MemoryKeyRates = field(default_factory=MemoryKeyRates)
    clock: ManualClock = field(default_factory=ManualClock)
    disk: Disk = field(default_factory=Disk)
    lag: SettlementLag = field(default_factory=SettlementLag)
    contention: Contention = field(default_factory=Contention)

    def __post_init__(self) -> None:
        entropy = numbers(self.first_number)
        self.live = Live(Directory("acme", (), self.policies, (self.key,)), self.rates.typical_nano_usd)
        self.live.set_plan(PLAN)
        self.live.set_prices(PRICES)
        self.recent = RecentCalls(
            self.expectations, PolicyMatches(), self.lag, self.contention, Probes(), BudgetLeads()
        )
        self.authenticate = Authenticate(self.live, self.clock, PEPPER)
        self.admit = Admit(
            live=self.live,
            authenticate=self.authenticate,
            stores=AdmissionStores(self.counters, self.allowances, self.disk, self.quotas),
            recent=self.recent,
            outside=Outside(self.clock, lambda size: next(entropy).to_bytes(size, "big"), lambda _: 0),
            catch_up=lambda: self.catch_up(),  # noqa: PLW0108  # tests set another one later
        )
        self.settle_all = Settle(
            live=self.live,
            reservations=self.counters,
            crossings=self.counters,
            recent=self.recent,
            rates=self.rates,
            clock=self.clock,
        )
        self.release = Release(self.counters)
        self.list_open = ListOpen(self.counters)
        self.overdue = ListOverdue(self.counters, max_stream_ms=MAX_STREAM_MS)

    def ask(
        self,
        model: str = "dear",
        facts: RequestFacts = CENT_FACTS,
        *,
        credential: str = SECRET,
        dialect: Dialect = Dialect.OPENAI,
        request_id: str = "request",
        run: str = "",
    ) -> Admitted | Deny:
        """Asks for one call."""
        return self.admit(AdmissionRequest(credential, request_id, EPOCH, dialect, model, facts, run))

    def let(
        self, model: str = "dear", facts: RequestFacts = CENT_FACTS, *, request_id: str = "request", run: str = ""
    ) -> Admitted:
        """Asks for one call that must be admitted."""
        outcome = self.ask(model, facts, request_id=request_id, run=run)
        assert isinstance(outcome, Admitted), outcome
        return outcome

    def refused(self, model: str = "dear", facts: RequestFacts = CENT_FACTS) -> Deny:
        """Asks for one call that must be refused."""
        outcome = self.ask(model, facts)
        assert isinstance(outcome, Deny), outcome
        return outcome

    def settle(self, admitted: Admitted, cost: int, tokens: tuple[int, int] = (1_000, 1_000)) -> SettleResult:
        """Settles one call."""
        settlement = Settlement(admitted.reservation.id, cost, *tokens, self.clock.now_ms(), reported=True)
        return self.settle_all([settlement], 0)

    def level(self, policy: str) -> tuple[int, int]:
        """Settled and reserved of the counters of a policy, added up."""
        levels = self._levels(policy)
        return sum(level.settled for level in levels), sum(level.reserved for level in levels)

    def doubt(self, policy: str) -> int:
        """The doubt in the counters of a policy, added up."""
        return sum(level.doubt for level in self._levels(policy))

    def _levels(self, policy: str) -> list[Level]:
        return [each.level for each in self.counters.counters_at(self.clock.now_ms()) if each.key.policy == policy]

    def change_policies(self, policies: tuple[QuotaPolicy, ...], keys: tuple[VirtualKey, ...] = ()) -> None:
        """Puts other policies in force, as an administrator does."""
        renamed = renamed_between(self.policies, policies, self.live.snapshot.directory.directory.renamed)
        self.policies = policies
        directory = Directory("acme", (), policies, keys or (self.key,), renamed=renamed)
        snapshot = self.live.snapshot_of(directory)
        self.counters.adopt(Adoption.of(snapshot), lambda: self.live.take(snapshot))

    def change_key(self, **changes: object) -> None:
        """Swaps the directory for one whose key differs."""
        self.key = replace(self.key, **changes)  # type: ignore[arg-type]  # names and types as in VirtualKey
        self.live.set_directory(Directory("acme", (), self.policies, (self.key,)))


def free() -> Price:
    """A price of zero, which is not the same as no price."""
    return price(0, 0)


def per_request(nano_usd: int) -> Price:
    """A price by request only."""
    return replace(free(), request_nano_usd=NanoUsd(nano_usd))
