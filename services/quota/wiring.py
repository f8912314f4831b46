"""Wires quota together. Only this module knows all its parts; `build` is its table of contents."""

from __future__ import annotations

import os
import secrets
import time

import grpc

from services.chassis.audit import AuditLog
from services.chassis.grpc_server import Servicer, ThreadedServer, build_server, open_channel
from services.chassis.loops import Loop
from services.chassis.runtime import Closers, Part, Runtime
from services.chassis.unary_server import UnaryServer, health
from services.kernel.clock import Clock
from services.quota.adapters.directory_tables import AUDIT
from services.quota.adapters.disk import FileSystemSpace
from services.quota.adapters.plan_stream import PlanStream
from services.quota.adapters.price_stream import PriceStream
from services.quota.adapters.slices import Turns
from services.quota.adapters.sql_directory import SqlAuditTrail
from services.quota.adapters.sqlite_file import CHECKPOINT_EVERY_MS
from services.quota.adapters.stores import Stores, open_stores
from services.quota.adapters.switch_client import SwitchClient
from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.routing.probes import Probes
from services.quota.settings import Settings
from services.quota.transport.admin_gate import AdminGate
from services.quota.transport.admin_methods import LEDGER_SERVICE, ROUTER_SERVICE
from services.quota.transport.admin_service import AdminService
from services.quota.transport.authorization import SERVICE, Authorization, Endpoints
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.call_trace import CallTraces
from services.quota.transport.check_answer import AllowWriter
from services.quota.transport.counter_service import CounterService
from services.quota.transport.doubt_service import DoubtService
from services.quota.transport.models_endpoint import ModelsEndpoint
from services.quota.transport.override_service import OverrideService
from services.quota.transport.quota_service import Queries, QuotaService
from services.quota.transport.recipient_service import RecipientService
from services.quota.transport.reservation_service import ReservationService
from services.quota.transport.root_token import RootToken
from services.quota.transport.simulation_service import SIMULATIONS_MAX, SimulationService
from services.quota.usecases.admin_tokens import AdminTokens
from services.quota.usecases.administer import Administer
from services.quota.usecases.admit import AdmissionStores, Admit, Outside
from services.quota.usecases.amend import Amend
from services.quota.usecases.authenticate import Authenticate, ListModels
from services.quota.usecases.budget_switches import TellBudgetSwitches
from services.quota.usecases.budgets import EffectiveLimits, ListBudgets
from services.quota.usecases.doubts import Doubts
from services.quota.usecases.explain import Explain
from services.quota.usecases.live import Live
from services.quota.usecases.overrides import Overrides
from services.quota.usecases.own_budget import ReadOwnBudget
from services.quota.usecases.policies import ListPolicies, PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from services.quota.usecases.recipients import ListRecipients
from services.quota.usecases.reconcile import Reconcile
from services.quota.usecases.settle import ListOpen, ListOverdue, Release, Settle
from services.quota.usecases.simulate import Propose
from services.quota.usecases.status import ReadStatus

# Decisions on shared counters wait for Redis, so several must run at once. Measured: more threads wait for each other.
_CHECK_THREADS = 4
_ADMIN_THREADS = 4
_STOP_GRACE_S = 2.0
# A ledger that does not answer must not delay a new plan for longer. New targets have no price until it answers.
_PRICES_WAIT_S = 2.0
_FORGET_EVERY_MS = 60_000
# Every process follows a change within a second.
_FOLLOW_EVERY_MS = 250
# Every process knows what the others learned within a minute.
_LEARN_EVERY_MS = 30_000
_TELL_EVERY_MS = 1_000
_FORGET_AFTER_MS = 3_600_000


def build(settings: Settings, clock: Clock) -> Runtime:
    """Builds quota from its settings. Once started, it answers Checks even without the other services.

    Open reservations stay when it stops, and the ledger ends them.

    Raises:
        SettingsError: a store that the settings name is not usable.
    """
    with Closers() as closers:
        stores = open_stores(settings, clock, closers)
        router, ledger = open_channel(settings.router_address), open_channel(settings.ledger_address)
        closers.add("the channel to the router", router.close)
        closers.add("the channel to the ledger", ledger.close)
        quota = _Quota(settings, clock, stores)
        prices, plans = _streams(router, ledger, quota)
        servers: list[Part] = [_check_server(quota), _admin_server(quota, router, ledger)]
        # A process that died during a change of policies may have left it half done.
        quota.amend.catch_up()
        return Runtime(servers=servers, loops=[prices, plans, *_loops(quota, ledger)], closers=closers)


class _Quota:
    """The parts that Checks and administration share."""

    def __init__(self, settings: Settings, clock: Clock, stores: Stores) -> None:
        self.settings, self.clock, self.stores = settings, clock, stores
        self.recent = RecentCalls(
            stores.expectations, PolicyMatches(), SettlementLag(), Contention(), Probes(), BudgetLeads()
        )
        self.live = Live(stores.directory.load(), stores.rates.typical_nano_usd)
        self.amend = Amend(store=stores.directory, live=self.live, adoption=stores.counters, clock=clock)
        self.follows = settings.number > 1
        """Administrators use another quota process, and this one follows its changes."""
        self.authenticate = Authenticate(self.live, clock, stores.pepper, self.amend.refresh if self.follows else None)
        self.release = Release(stores.counters)
        self.tokens = AdminTokens(
            amend=self.amend, live=self.live, clock=clock, entropy=os.urandom, pepper=stores.pepper
        )

    def first_byte_timeout_ms(self, model: str) -> int:
        """How long the first byte of this model's answer may take; 0 if there is no such model."""
        plan = self.live.snapshot.routes.plan.models.get(model)
        return plan.first_byte_timeout_ms if plan else 0


def _streams(router: grpc.Channel, ledger: grpc.Channel, quota: _Quota) -> tuple[PriceStream, PlanStream]:
    """The streams of prices and plan. Those from before the last stop are in force at once."""
    live, snapshots = quota.live, quota.stores.snapshots
    prices = PriceStream(ledger, snapshots, swap_in=live.set_prices)
    plans = PlanStream(
        router,
        snapshots,
        prepare=lambda targets: prices.watch(targets, timeout_s=_PRICES_WAIT_S),
        swap_in=live.set_plan,
    )
    if known_prices := prices.load():
        live.set_prices(known_prices)
    if known_plan := plans.load():
        live.set_plan(known_plan)
        prices.watch(known_plan.targets.values(), timeout_s=0)
    return prices, plans


def _loops(quota: _Quota, ledger: grpc.Channel) -> list[Loop]:
    stores, clock = quota.stores, quota.clock
    tell = TellBudgetSwitches(
        live=quota.live,
        leads=quota.recent.leads,
        counters=stores.counters,
        receiver=SwitchClient(ledger),
        clock=clock,
    )
    loops = [
        Loop(
            "forgetting old counters and requests", lambda: _forget(stores, clock.now_ms()), every_ms=_FORGET_EVERY_MS
        ),
        Loop("writing the log into the file", stores.file.checkpoint, every_ms=CHECKPOINT_EVERY_MS),
        Loop("following the directory", quota.amend.refresh, every_ms=_FOLLOW_EVERY_MS),
        Loop("telling switches by the budget", tell, every_ms=_TELL_EVERY_MS),
    ]
    if quota.follows:
        # The first process learns from the ledger's settlements; the others follow what it learned.
        loops += [
            Loop("following what calls took", stores.expectations.refresh, every_ms=_LEARN_EVERY_MS),
            Loop("following what keys spend", stores.rates.refresh, every_ms=_LEARN_EVERY_MS),
        ]
    return loops


def _forget(stores: Stores, now_ms: int) -> None:
    stores.directory.forget_requests(now_ms)
    stores.counters.forget(now_ms - _FORGET_AFTER_MS)


def _check_server(quota: _Quota) -> Part:
    settings, clock, stores, authenticate = quota.settings, quota.clock, quota.stores, quota.authenticate
    admit = Admit(
        live=quota.live,
        authenticate=authenticate,
        stores=AdmissionStores(
            stores.counters, stores.allowances, FileSystemSpace(settings.data_dir, clock), settings.quotas
        ),
        recent=quota.recent,
        outside=Outside(clock, os.urandom, secrets.randbelow),
        catch_up=quota.amend.catch_up,
    )
    checks = Authorization(
        admit=admit,
        authenticate=authenticate,
        release=quota.release,
        endpoints=Endpoints(
            models=ModelsEndpoint(ListModels(authenticate)),
            budget=BudgetEndpoint(ReadOwnBudget(authenticate=authenticate, counters=stores.counters, clock=clock)),
            admin=AdminGate(RootToken(settings.admin_token), quota.tokens, clock),
        ),
        allow=AllowWriter(quota.first_byte_timeout_ms),
        traces=CallTraces(settings.traces.sampling, lambda: time.time_ns() // 1_000),
    )
    name, address = "the server of Checks", settings.check_address
    if settings.counters_url is None:
        # Decisions on counters in this process wait for nobody.
        return UnaryServer(name, address, {**checks.handlers, **health(SERVICE)}, grace_s=_STOP_GRACE_S)
    server = build_server(address, [checks.registration], workers=_CHECK_THREADS, reflect=False)
    return ThreadedServer(name, server, grace_s=_STOP_GRACE_S)


def _admin_server(quota: _Quota, router: grpc.Channel, ledger: grpc.Channel) -> ThreadedServer:
    settings, clock, live, stores = quota.settings, quota.clock, quota.live, quota.stores
    counters = stores.counters
    reconcile = Reconcile(
        live=live, counters=counters, adjustments=counters, crossings=counters, recovery=counters, clock=clock
    )
    doubts = Doubts(store=counters, audit=SqlAuditTrail(stores.engine), clock=clock)
    services: list[Servicer] = [
        _quota_service(quota, reconcile),
        AdminService(tokens=quota.tokens, audit=AuditLog(stores.engine, AUDIT), clock=clock),
        OverrideService(Overrides(amend=quota.amend, live=live, clock=clock, entropy=os.urandom)),
        DoubtService(doubts),
        SimulationService(Propose(live)),
        _reservation_service(quota),
        CounterService(reconcile),
        RecipientService(ListRecipients(live, Turns())),
    ]
    server = build_server(
        settings.admin_address,
        [service.registration for service in services],
        workers=_ADMIN_THREADS + SIMULATIONS_MAX,
        neighbours={ROUTER_SERVICE: router, LEDGER_SERVICE: ledger},
    )
    return ThreadedServer("the server of administration", server, grace_s=_STOP_GRACE_S)


def _quota_service(quota: _Quota, reconcile: Reconcile) -> QuotaService:
    clock, live, stores, recent = quota.clock, quota.live, quota.stores, quota.recent
    counters = stores.counters
    return QuotaService(
        live=live,
        administer=Administer(
            amend=quota.amend,
            live=live,
            clock=clock,
            entropy=os.urandom,
            pepper=stores.pepper,
            counters_shared=quota.settings.counters_url is not None,
        ),
        queries=Queries(
            list_policies=ListPolicies(live, recent.matches),
            list_budgets=ListBudgets(live=live, counters=counters, clock=clock, turns=Turns()),
            effective_limits=EffectiveLimits(live=live, counters=counters, clock=clock),
            explain=Explain(live=live, counters=counters, recent=recent, clock=clock),
            status=ReadStatus(live, counters, recent.lag),
        ),
        reconcile=reconcile,
        clock=clock,
    )


def _reservation_service(quota: _Quota) -> ReservationService:
    stores = quota.stores
    settle = Settle(
        live=quota.live,
        reservations=stores.counters,
        crossings=stores.counters,
        recent=quota.recent,
        rates=stores.rates,
        clock=quota.clock,
    )
    return ReservationService(
        settle=settle,
        release=quota.release,
        list_overdue=ListOverdue(stores.counters, max_stream_ms=quota.settings.max_stream_ms),
        list_open=ListOpen(stores.counters),
    )
