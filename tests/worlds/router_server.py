"""The router's services behind a real gRPC server on a Unix socket, and an Envoy that a test plays by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from spendgate_envoy.envoy.config.cluster.v3 import cluster_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.config.listener.v3 import listener_pb2
from spendgate_envoy.envoy.config.route.v3 import route_pb2
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from spendgate_envoy.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from services.chassis.grpc_server import build_aio_server, open_aio_channel
from services.router.transport.access_log_service import AccessLogService
from services.router.transport.ads_session import CLUSTER_TYPE, LISTENER_TYPE, PUSH_ORDER, ROUTE_TYPE, SECRET_TYPE
from services.router.transport.aggregated_discovery_service import AggregatedDiscoveryService
from services.router.transport.route_plan_service import RoutePlanService
from services.router.transport.router_service import RouterService
from services.router.usecases.attempt_log import AttemptLog
from services.router.usecases.attempt_stats import AttemptStats
from services.router.usecases.credential_refusals import CredentialRefusals
from services.router.usecases.follow_health import FollowHealth
from services.router.usecases.publish import Version
from services.router.usecases.report_routes import ReportRoutes
from tests.worlds.router import Router

EPOCH = "local-1795464000000"
TIMEOUT_S = 5.0
QUIET_S = 0.15


@dataclass
class Warming:
    """What Envoy's admin would say."""

    now: bool = False

    async def is_warming(self) -> bool:
        return self.now


@dataclass(frozen=True)
class Running:
    """A router that answers, and a channel to it."""

    router: Router
    stats: AttemptStats
    log: AttemptLog
    follow: FollowHealth
    channel: grpc.aio.Channel
    warming: Warming


@asynccontextmanager
async def serving(folder: Path, router: Router | None = None) -> AsyncIterator[Running]:
    """Serves a router on a socket in `folder`."""
    router = router or Router()
    stats = AttemptStats(router.clock)
    refusals = CredentialRefusals(router.clock)
    observers = [stats.observe, router.health.observe, refusals.observe]
    log = AttemptLog(router.clock, report_every_ms=2_000, observers=observers)
    follow = FollowHealth(log, router.health, router.administrator, router.note_switches)
    reports = ReportRoutes(router.administrator, stats, router.health, follow, refusals)
    administration = RouterService(
        router.administrator, router.publisher, reports, router.drain, router.trials, router.audit
    )
    warming = Warming()
    discovery = AggregatedDiscoveryService(router.publisher, resources_of, warming.is_warming)
    plans = RoutePlanService(router.publisher)
    attempts = AccessLogService(log, router.clock)
    address = f"unix:{folder}/r.sock"
    services = (administration, discovery, plans, attempts)
    server = await build_aio_server(address, [service.registration for service in services])
    await server.start()
    channel = open_aio_channel(address)
    try:
        yield Running(router, stats, log, follow, channel, warming)
    finally:
        await channel.close()
        await server.stop(None)


def resources_of(version: Version, epoch: str) -> Mapping[str, Mapping[str, Message]]:
    """As many resources as the protocol needs to be seen at work; the real ones have tests of their own."""
    secrets = {
        name: secret_pb2.Secret(
            name=name,
            generic_secret=secret_pb2.GenericSecret(secret=base_pb2.DataSource(inline_string=value.reveal())),
        )
        for name, value in version.secrets.items()
    }
    return {
        CLUSTER_TYPE: {
            one.name: cluster_pb2.Cluster(name=one.name, alt_stat_name=f"{one.hostname}:{one.port}")
            for one in version.snapshot.clusters
        },
        SECRET_TYPE: secrets,
        LISTENER_TYPE: {"data": listener_pb2.Listener(name="data", stat_prefix=epoch)},
        ROUTE_TYPE: {"data": route_pb2.RouteConfiguration(name="data")},
    }


class HandPlayedEnvoy:
    """Speaks ADS one message at a time."""

    def __init__(self, channel: grpc.aio.Channel, epoch: str = EPOCH) -> None:
        self._epoch = epoch
        stub: Any = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        self._call = stub.StreamAggregatedResources()
        self._reading: asyncio.Task[Any] | None = None
        self.names: dict[str, list[str]] = {}
        self.nonces: dict[str, str] = {}

    async def ask(self, type_url: str, *names: str, nonce: str | None = None, refusal: str = "") -> None:
        """Sends a request of a type; by default it answers the last response of that type."""
        self.names[type_url] = list(names)
        request = discovery_pb2.DiscoveryRequest(
            node=base_pb2.Node(id=self._epoch),
            type_url=type_url,
            resource_names=names,
            response_nonce=self.nonces.get(type_url, "") if nonce is None else nonce,
        )
        if refusal:
            request.error_detail.message = refusal
        await self._call.write(request)

    async def next(self, type_url: str) -> discovery_pb2.DiscoveryResponse:
        """The next response, which must be of this type."""
        reading = self._reading or asyncio.ensure_future(self._call.read())
        self._reading = None
        response: discovery_pb2.DiscoveryResponse = await asyncio.wait_for(reading, TIMEOUT_S)
        assert response.type_url == type_url
        self.nonces[type_url] = response.nonce
        return response

    async def acknowledge(self, type_url: str) -> None:
        """Accepts the last response of a type."""
        await self.ask(type_url, *self.names[type_url])

    async def refuse(self, type_url: str, reason: str) -> None:
        """Refuses the last response of a type."""
        await self.ask(type_url, *self.names[type_url], refusal=reason)

    async def hears_nothing(self) -> bool:
        """Whether no response comes for a while."""
        self._reading = self._reading or asyncio.ensure_future(self._call.read())
        done, _ = await asyncio.wait([self._reading], timeout=QUIET_S)
        return not done

    async def take_everything(self, *secrets: str) -> None:
        """Asks for all kinds of resources, as an Envoy does at its start, and accepts them."""
        for type_url in PUSH_ORDER:
            wanted = {SECRET_TYPE: secrets, ROUTE_TYPE: ("data",)}.get(type_url, ())
            if type_url == SECRET_TYPE and not secrets:
                continue
            await self.ask(type_url, *wanted)
            await self.next(type_url)
            await self.acknowledge(type_url)

    async def leave(self) -> None:
        """Drops the stream."""
        self._call.cancel()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)


def named(response: discovery_pb2.DiscoveryResponse, kind: type[Message]) -> dict[str, Any]:
    """The resources of a response by name."""
    found = {}
    for resource in response.resources:
        message: Any = kind()
        assert resource.Unpack(message)
        found[message.name] = message
    return found


async def until(condition: Any) -> None:
    """Waits for something that another task is about to do."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)
