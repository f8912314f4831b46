"""Assembles the router. Only this module knows all its parts; `build` is its table of contents."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from google.protobuf.message import Message

from services.chassis.audit import AuditLog
from services.chassis.database import bring_up_to_date, open_engine
from services.chassis.event_loop import EventLoop
from services.chassis.grpc_server import AioServer, open_channel
from services.chassis.loops import Loop
from services.chassis.named_variables import SOCKET_NAME, NamedVariables
from services.chassis.runtime import Closers, Runtime
from services.kernel.clock import Clock
from services.kernel.envoy_contract import Socket
from services.router.adapters.api_descriptors import load_descriptors
from services.router.adapters.credentials import EnvironmentAndFiles
from services.router.adapters.envoy_admin import EnvoyAdmin
from services.router.adapters.envoy_resources import build_resources
from services.router.adapters.envoy_resources_access_log import ATTEMPT_REPORT_MS
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.ledger_client import LedgerClient
from services.router.adapters.name_resolver import resolve
from services.router.adapters.provider_call import ProviderCall
from services.router.adapters.sql_configuration import AUDIT, SqlConfigurationStore
from services.router.domain.snapshot import NodeSettings
from services.router.settings import Settings
from services.router.transport.access_log_service import AccessLogService
from services.router.transport.ads_session import CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE
from services.router.transport.aggregated_discovery_service import AggregatedDiscoveryService, BuildResources
from services.router.transport.route_plan_service import RoutePlanService
from services.router.transport.router_service import RouterService
from services.router.usecases.administer import Administrator
from services.router.usecases.attempt_log import AttemptLog
from services.router.usecases.attempt_stats import AttemptStats
from services.router.usecases.credential_refusals import CredentialRefusals
from services.router.usecases.drain import DrainTargets
from services.router.usecases.follow_health import FollowHealth
from services.router.usecases.note_switches import NoteSwitches, ReportSwitches
from services.router.usecases.publish import Publisher, Version
from services.router.usecases.report_routes import ReportRoutes
from services.router.usecases.target_health import TargetHealth
from services.router.usecases.try_provider import TryProvider
from services.router.usecases.watch_names import NameWatch

_TICK_MS = 1_000
_REREAD_MS = 3_000
# As often as Envoy resolves a name.
_RESOLVE_MS = 5_000
_WATCH_MS = 250
# A new switch wakes it.
_REPORT_MS = 60_000
_REPORT_RETRY_MS = (1_000, 30_000)
_STOP_GRACE_S = 1.0


def build(settings: Settings, clock: Clock) -> Runtime:
    """Assembles a router with these settings. When it stops, Envoy and quota continue with what they have.

    Raises:
        InvalidInput: this release does not accept the stored configuration.
        OSError: a folder or a script is missing or unreadable.
    """
    for folder in (settings.node.spool_dir, settings.node.log_dir):
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    with Closers() as closers:
        file = settings.data_dir / "db" / "router.sqlite"
        bring_up_to_date(file, "services.router")
        engine = open_engine(file)
        closers.add("the database", engine.dispose)
        store = SqlConfigurationStore(engine)
        publisher = Publisher(clock, store, settings.retire_after_ms)
        handed = NamedVariables(SOCKET_NAME)
        credentials = EnvironmentAndFiles(settings.environ, settings.data_dir, settings.sealing_keys, handed)
        health = TargetHealth(clock)
        # Before the first plan, which must not be led by what was left before the restart.
        note_switches = NoteSwitches(store, health, clock, os.urandom)
        names = NameWatch(resolve)
        administrator = Administrator(store, credentials, publisher, health, names, clock)
        stats = AttemptStats(clock)
        refusals = CredentialRefusals(clock)
        observers = [stats.observe, health.observe, refusals.observe]
        attempts = AttemptLog(clock, report_every_ms=ATTEMPT_REPORT_MS, observers=observers)
        reporting = _reporting(store, closers, f"{socket.gethostname()}:{settings.data_dir.resolve()}")
        follow_health = FollowHealth(attempts, health, administrator, note_switches, lambda _: reporting.wake())
        drain = DrainTargets(store, administrator, clock)
        reports = ReportRoutes(administrator, stats, health, follow_health, refusals)
        trials = TryProvider(credentials, ProviderCall(settings.node.provider_roots))
        resources = resource_builder(settings.node, settings.envoy_files)
        services = (
            RouterService(administrator, publisher, reports, drain, trials, AuditLog(engine, AUDIT)),
            RoutePlanService(publisher),
            AggregatedDiscoveryService(publisher, resources, EnvoyAdmin(Path(Socket.ENVOY_ADMIN)).is_warming),
            AccessLogService(attempts, clock),
        )
        administrator.restore()
        # The services share state without locks, because all of it lives on this one loop.
        events = EventLoop()
        registrations = [service.registration for service in services]
        server = AioServer("the server", events, f"unix:{Socket.ROUTER}", registrations, grace_s=_STOP_GRACE_S)
        loops = [
            reporting,
            Loop("following the health of targets", lambda: events.call(follow_health), every_ms=_WATCH_MS),
            Loop("retiring clusters", lambda: events.call(publisher.tick), every_ms=_TICK_MS),
            Loop(
                "watching names",
                partial(_watch_names, events, administrator),
                every_ms=_RESOLVE_MS,
                at_once=True,
            ),
            Loop("reading credentials", lambda: events.call(administrator.reread_credentials), every_ms=_REREAD_MS),
        ]
        return Runtime(servers=[events, server], loops=loops, closers=closers)


def _watch_names(events: EventLoop, administrator: Administrator) -> None:
    findings = administrator.look_up(events.call(lambda: administrator.configuration.providers))
    events.call(lambda: administrator.take_names(findings))


def _reporting(store: SqlConfigurationStore, closers: Closers, router: str) -> Loop:
    ledger = open_channel(f"unix:{Socket.LEDGER}")
    closers.add("the channel to the ledger", ledger.close)
    report = ReportSwitches(store, LedgerClient(ledger, router))
    return Loop("reporting switches", report, every_ms=_REPORT_MS, at_once=True, retry_ms=_REPORT_RETRY_MS)


def resource_builder(node: NodeSettings, envoy_files: Path) -> BuildResources:
    """Returns a builder of Envoy's resources that uses the scripts in `envoy_files`, which are read now.

    Raises:
        OSError: a script is missing or unreadable.
    """
    scripts = Scripts.load(envoy_files / "lua")
    descriptors = load_descriptors()

    def build(version: Version, epoch: str) -> Mapping[str, Mapping[str, Message]]:
        values = {name: value.reveal() for name, value in version.secrets.items()}
        made = build_resources(version.snapshot, replace(node, epoch=epoch), values, scripts, descriptors)
        return {
            CLUSTER_TYPE: made.clusters,
            SECRET_TYPE: made.secrets,
            LISTENER_TYPE: made.listeners,
            ROUTE_TYPE: made.routes,
        }

    return build
