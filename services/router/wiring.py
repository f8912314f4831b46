"""Puts the router together. The only module that knows all its parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import grpc.aio
from google.protobuf.message import Message

from services.chassis.audit import AuditLog
from services.chassis.database import migrate, open_engine
from services.chassis.grpc_server import build_aio_server
from services.chassis.settings import Environ
from services.kernel.clock import Clock
from services.kernel.envoy_contract import Socket
from services.router.adapters.api_descriptors import load_descriptors
from services.router.adapters.credentials import EnvironmentAndFiles
from services.router.adapters.envoy_admin import EnvoyAdmin
from services.router.adapters.envoy_resources import build_resources
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.sql_configuration import AUDIT, SqlConfigurationStore
from services.router.domain.snapshot import NodeSettings
from services.router.settings import Settings
from services.router.transport.admin_api import RouterAdmin
from services.router.transport.ads import AggregatedDiscovery, BuildResources
from services.router.transport.ads_session import CLUSTER_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE
from services.router.transport.attempt_log import AttemptLog
from services.router.transport.plan_stream import RoutePlanStream
from services.router.usecases.administer import Administrator
from services.router.usecases.observe import Observer
from services.router.usecases.publish import Publisher, Release

_log = logging.getLogger("spendgate.router")

_TICK_S = 1.0
_REREAD_S = 3.0
_STOP_GRACE_S = 1.0


class RouterService:
    """The running router."""

    def __init__(self, settings: Settings, environ: Environ, clock: Clock) -> None:
        for folder in (settings.node.spool_dir, settings.node.log_dir):
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = open_engine(settings.data_dir / "db" / "router.sqlite")
        migrate(engine, "services.router")
        self._engine = engine
        store = SqlConfigurationStore(engine)
        self._publisher = Publisher(clock, store, settings.retire_after_ms)
        credentials = EnvironmentAndFiles(environ, settings.data_dir)
        self._administrator = Administrator(store, credentials, self._publisher, clock)
        self._build_resources = resource_builder(settings.node, settings.envoy_files)
        self._envoy = EnvoyAdmin(Path(Socket.ENVOY_ADMIN))
        self._server: grpc.aio.Server | None = None
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Publishes the stored configuration and answers."""
        self._administrator.restore()
        services = (
            RouterAdmin(self._administrator, self._publisher, AuditLog(self._engine, AUDIT)),
            RoutePlanStream(self._publisher),
            AggregatedDiscovery(self._publisher, self._build_resources, self._envoy.is_warming),
            AttemptLog(Observer()),
        )
        self._server = await build_aio_server(f"unix:{Socket.ROUTER}", [service.registration for service in services])
        await self._server.start()
        self._loops = [
            asyncio.create_task(_every(_TICK_S, self._publisher.tick)),
            asyncio.create_task(_every(_REREAD_S, self._administrator.reread_credentials)),
        ]

    async def stop(self) -> None:
        """Ends the streams. Envoy and quota go on with what they have."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_S)
        self._engine.dispose()


def resource_builder(node: NodeSettings, envoy_files: Path) -> BuildResources:
    """Makes Envoy's resources with the scripts in `envoy_files`, which are read now.

    Raises:
        OSError: a script is missing or unreadable.
    """
    scripts = Scripts.load(envoy_files / "lua")
    descriptors = load_descriptors()

    def build(release: Release, epoch: str) -> Mapping[str, Mapping[str, Message]]:
        values = {name: value.reveal() for name, value in release.secrets.items()}
        made = build_resources(release.snapshot, replace(node, epoch=epoch), values, scripts, descriptors)
        return {
            CLUSTER_TYPE: made.clusters,
            SECRET_TYPE: made.secrets,
            LISTENER_TYPE: made.listeners,
            ROUTE_TYPE: made.routes,
        }

    return build


async def _every(seconds: float, action: Callable[[], None]) -> None:
    """Does `action` again and again. One failure is logged and does not end the loop."""
    while True:
        await asyncio.sleep(seconds)
        try:
            action()
        except Exception:  # noqa: BLE001  (the next round may succeed)
            _log.exception("a recurring task failed")
