"""Puts quota together. The only module that knows all its parts."""

from __future__ import annotations

import os
import secrets

from services.chassis.audit import AuditLog
from services.chassis.database import migrate, open_engine
from services.chassis.grpc_server import build_server, open_channel
from services.chassis.telemetry import configure
from services.kernel.clock import Clock
from services.quota.adapters.disk import DiskHeadroom
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.pepper_file import PepperLostError, open_pepper
from services.quota.adapters.plan_stream import PlanStream
from services.quota.adapters.price_stream import PriceStream
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_keys import tag_of
from services.quota.adapters.repeating import Repeating
from services.quota.adapters.sql_directory import AUDIT, SqlAuditTrail, SqlDirectory, SqlSnapshots
from services.quota.adapters.sqlite_allowances import SqliteAllowances
from services.quota.adapters.sqlite_counters import SqliteCounters, counts_anything
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.adapters.sqlite_expectations import SqliteExpectations
from services.quota.adapters.sqlite_file import CHECKPOINT_EVERY_S, SqliteFile
from services.quota.adapters.sqlite_key_rates import SqliteKeyRates
from services.quota.domain.lag import SettlementLag
from services.quota.domain.pressure import Pressure
from services.quota.settings import Settings
from services.quota.transport.admin_api import QuotaApi
from services.quota.transport.admin_gate import AdminGate
from services.quota.transport.admin_methods import LEDGER_SERVICE, ROUTER_SERVICE
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.counter_api import CounterApi
from services.quota.transport.decision_span import DecisionSpans
from services.quota.transport.doubt_api import DoubtApi
from services.quota.transport.ext_authz import ExtAuthz
from services.quota.transport.models_endpoint import ModelsEndpoint
from services.quota.transport.people_api import AdminApi, OverrideApi
from services.quota.transport.reservation_api import ReservationApi
from services.quota.transport.root_token import RootToken
from services.quota.transport.simulation_api import SIMULATIONS_MAX, SimulationApi
from services.quota.usecases.admin_tokens import AdminTokens
from services.quota.usecases.administer import Administer
from services.quota.usecases.admit import Admit
from services.quota.usecases.amend import Amend
from services.quota.usecases.authenticate import Authenticate, ListModels
from services.quota.usecases.budgets import EffectiveLimits, ListBudgets
from services.quota.usecases.current import Current
from services.quota.usecases.doubts import Doubts
from services.quota.usecases.explain import Explain
from services.quota.usecases.forget_secrets import forget_secrets
from services.quota.usecases.overrides import Overrides
from services.quota.usecases.own_budget import ReadOwnBudget
from services.quota.usecases.policies import ListPolicies, PolicyMatches
from services.quota.usecases.reconcile import Reconcile
from services.quota.usecases.settle import ListOpen, ListOverdue, Release, Settle
from services.quota.usecases.simulate import Propose

# Measured: four threads answer Checks fastest, more of them only wait for each other.
_CHECK_THREADS = 4
_ADMIN_THREADS = 4
_STOP_GRACE_S = 2.0
# A ledger that does not answer must not keep a new plan out for longer. Its new targets are unpriced until then.
_PRICES_WAIT_S = 2.0
_FORGET_EVERY_S = 60.0
# A change holds everywhere within a second.
_FOLLOW_EVERY_S = 0.25
# What is learnt of calls is known everywhere within a minute.
_LEARN_EVERY_S = 30.0
_FORGET_AFTER_MS = 3_600_000


class QuotaService:
    """The running quota. It answers Checks as soon as its own store is open, whoever else is there."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._telemetry = configure("spendgate-quota", settings.otlp_endpoint)
        self._engine = open_engine(settings.database)
        migrate(self._engine, "services.quota")
        self._file = SqliteFile(settings.database)
        snapshots, directory = SqlSnapshots(self._engine), SqlDirectory(self._engine)
        self._pepper = self._open_pepper(settings, snapshots, directory)
        self._allowances = SqliteAllowances(self._file, settings.number)
        self._counters = self._open_counters(settings, snapshots)
        self._router, self._ledger = open_channel(settings.router_address), open_channel(settings.ledger_address)
        self._rates = SqliteKeyRates(self._file)
        self._current = Current(directory.load(), self._rates.usual_nano_usd)
        self._prices = PriceStream(self._ledger, snapshots, swap_in=self._current.set_prices)
        self._plans = PlanStream(
            self._router,
            snapshots,
            prepare=lambda targets: self._prices.watch(targets, timeout_s=_PRICES_WAIT_S),
            swap_in=self._current.set_plan,
        )
        self._repeating = [
            Repeating("forgetting old counters", _FORGET_EVERY_S, self._forget),
            Repeating("writing the log into the file", CHECKPOINT_EVERY_S, self._file.checkpoint),
        ]
        self._simulations = SimulationApi(Propose(self._current))
        self._build_servers(settings, directory)

    def start(self) -> None:
        """Takes up what was in force before the last stop, answers, and listens for news."""
        if prices := self._prices.load():
            self._current.set_prices(prices)
        if plan := self._plans.load():
            self._current.set_plan(plan)
            self._prices.watch(plan.targets.values(), timeout_s=0)
        # Whoever was killed while policies changed may have left it half done.
        self._amend.catch_up()
        self._check_server.start()
        self._admin_server.start()
        self._prices.start()
        self._plans.start()
        for repeating in self._repeating:
            repeating.start()

    def stop(self) -> None:
        """Finishes the Checks in hand. What is reserved stays reserved: the ledger ends it."""
        for repeating in self._repeating:
            repeating.stop()
        for stopped in [self._check_server.stop(_STOP_GRACE_S), self._admin_server.stop(_STOP_GRACE_S)]:
            stopped.wait()
        self._plans.stop()
        self._prices.stop()
        for channel in (self._router, self._ledger):
            channel.close()
        if isinstance(self._counters, RedisCounters):
            self._counters.close()
        self._file.close()
        self._engine.dispose()
        self._telemetry.shutdown()

    def _build_servers(self, settings: Settings, directory: SqlDirectory) -> None:
        clock, current, counters, pepper = self._clock, self._current, self._counters, self._pepper
        lag, pressure, matches = SettlementLag(), Pressure(), PolicyMatches()
        expectations = SqliteExpectations(self._file)
        amend = self._amend = Amend(store=directory, current=current, counters=counters, clock=clock)
        self._repeating.append(Repeating("following the directory", _FOLLOW_EVERY_S, amend.refresh))
        follows = settings.number > 1
        authenticate = Authenticate(current, clock, pepper, amend.refresh if follows else None)
        release = Release(counters)
        admit = Admit(
            current=current,
            authenticate=authenticate,
            counters=counters,
            allowances=self._allowances,
            expectations=expectations,
            headroom=DiskHeadroom(settings.data_dir, clock),
            matches=matches,
            lag=lag,
            pressure=pressure,
            clock=clock,
            entropy=os.urandom,
            draw=secrets.randbelow,
            quotas=settings.quotas,
            catch_up=amend.catch_up,
        )
        if follows:
            self._follow_the_first(expectations)
        tokens = AdminTokens(amend=amend, current=current, clock=clock, entropy=os.urandom, pepper=pepper)
        checks = ExtAuthz(
            admit=admit,
            authenticate=authenticate,
            release=release,
            models=ModelsEndpoint(ListModels(authenticate)),
            budget=BudgetEndpoint(ReadOwnBudget(authenticate=authenticate, reader=counters, clock=clock)),
            admin=AdminGate(RootToken(settings.admin_token), tokens, clock),
            allow=AllowWriter(self._first_byte_timeout_ms),
            spans=DecisionSpans(self._telemetry),
        )
        reconcile = Reconcile(current=current, counters=counters, reader=counters, clock=clock)
        quota_api = QuotaApi(
            current=current,
            administer=self._administer(settings, amend),
            list_policies=ListPolicies(current, matches),
            list_budgets=ListBudgets(current=current, reader=counters, clock=clock),
            effective_limits=EffectiveLimits(current=current, reader=counters, clock=clock),
            explain=Explain(
                current=current, reader=counters, expectations=expectations, lag=lag, pressure=pressure, clock=clock
            ),
            reconcile=reconcile,
            counters=counters,
            lag=lag,
            clock=clock,
        )
        admin_api = AdminApi(tokens=tokens, audit=AuditLog(self._engine, AUDIT), clock=clock)
        override_api = OverrideApi(Overrides(amend=amend, current=current, clock=clock, entropy=os.urandom))
        ledger_apis = self._ledger_apis(settings, expectations, lag, release, reconcile)
        self._check_server = build_server(
            settings.check_address, [checks.registration()], workers=_CHECK_THREADS, reflect=False
        )
        self._admin_server = build_server(
            settings.admin_address,
            [
                api.registration()
                for api in (quota_api, admin_api, override_api, self._doubt_api(), self._simulations, *ledger_apis)
            ],
            workers=_ADMIN_THREADS + SIMULATIONS_MAX,
            neighbours={ROUTER_SERVICE: self._router, LEDGER_SERVICE: self._ledger},
        )

    def _administer(self, settings: Settings, amend: Amend) -> Administer:
        return Administer(
            amend=amend,
            current=self._current,
            clock=self._clock,
            entropy=os.urandom,
            pepper=self._pepper,
            counters_shared=settings.counters_url is not None,
        )

    def _ledger_apis(
        self,
        settings: Settings,
        expectations: SqliteExpectations,
        lag: SettlementLag,
        release: Release,
        reconcile: Reconcile,
    ) -> tuple[ReservationApi, CounterApi]:
        settle = self._settle(expectations, lag)
        overdue = ListOverdue(self._counters, max_stream_ms=settings.max_stream_ms)
        open_calls = ListOpen(self._counters)
        return (
            ReservationApi(settle=settle, release=release, list_overdue=overdue, list_open=open_calls),
            CounterApi(reconcile),
        )

    def _doubt_api(self) -> DoubtApi:
        trail = SqlAuditTrail(self._engine)
        return DoubtApi(Doubts(counters=self._counters, reader=self._counters, audit=trail, clock=self._clock))

    def _settle(self, expectations: SqliteExpectations, lag: SettlementLag) -> Settle:
        return Settle(
            current=self._current,
            counters=self._counters,
            reader=self._counters,
            expectations=expectations,
            rates=self._rates,
            lag=lag,
            clock=self._clock,
        )

    def _follow_the_first(self, expectations: SqliteExpectations) -> None:
        """Takes over, again and again, what is learnt in the quota that administrators and ledger ask."""
        self._repeating += [
            Repeating("following what calls took", _LEARN_EVERY_S, expectations.refresh),
            Repeating("following what keys spend", _LEARN_EVERY_S, self._rates.refresh),
        ]

    def _first_byte_timeout_ms(self, model: str) -> int:
        plan = self._current.belief.routes.plan.models.get(model)
        return plan.first_byte_timeout_ms if plan else 0

    def _open_pepper(self, settings: Settings, snapshots: SqlSnapshots, directory: SqlDirectory) -> bytes:
        try:
            return open_pepper(settings.pepper, snapshots, directory.load(), os.urandom)
        except PepperLostError:
            if not settings.new_pepper:
                raise
            forget_secrets(directory, self._clock)
            return open_pepper(settings.pepper, snapshots, directory.load(), os.urandom)

    def _open_counters(self, settings: Settings, snapshots: SqlSnapshots) -> SqliteCounters | RedisCounters:
        if settings.counters_url is None:
            return SqliteCounters(self._file)
        fresh = not counts_anything(self._file)
        journal = HeldJournal(settings.database.parent, settings.number)
        put_back = self._allowances.put_back
        tag = tag_of(self._pepper)
        doubts = SqliteDoubts(self._file)
        return RedisCounters(
            settings.counters_url,
            tag,
            snapshots,
            journal,
            doubts,
            fresh=fresh,
            put_back=put_back,
            is_first=settings.number == 1,
        )

    def _forget(self) -> None:
        self._counters.forget(self._clock.now_ms() - _FORGET_AFTER_MS)
