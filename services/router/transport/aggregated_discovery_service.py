"""Configures Envoys over ADS: each has one stream, which carries all kinds of resources in a safe order."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from spendgate_envoy.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2

from services.chassis.grpc_server import Registration
from services.router.transport.ads_session import Rendering, Session, render
from services.router.transport.wakeup import reading
from services.router.usecases.publish import Publisher, Version

_log = logging.getLogger("spendgate.router.ads")

# The epoch becomes the name of a spool file, so nothing in it may leave the folder.
_EPOCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}-\d{13}")

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

BuildResources = Callable[[Version, str], Mapping[str, Mapping[str, Message]]]
"""Makes the resources of a version for the Envoy of an epoch, by type URL and name."""

IsWarming = Callable[[], Awaitable[bool]]
"""Returns whether the Envoy has clusters that it acknowledged and cannot use yet."""

_WARMING_POLL_S = 0.05


class AggregatedDiscoveryService(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """Sends each Envoy what the publisher publishes, and reports to the publisher what each holds."""

    def __init__(self, publisher: Publisher, build_resources: BuildResources, is_warming: IsWarming) -> None:
        self._publisher = publisher
        self._build_resources = build_resources
        self._is_warming = is_warming

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server, self))

    async def StreamAggregatedResources(
        self,
        request_iterator: AsyncIterator[discovery_pb2.DiscoveryRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[discovery_pb2.DiscoveryResponse]:
        """Serves one Envoy for as long as it is connected."""
        first = await anext(aiter(request_iterator), None)
        if first is None:
            return
        epoch = first.node.id
        if not _EPOCH.fullmatch(epoch):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the node id is not an epoch: <node>-<start in ms>")
        session = Session()
        node = self._publisher.connect_node(epoch)
        _log.info("Envoy %s is connected", epoch)

        def receive(request: discovery_pb2.DiscoveryRequest) -> None:
            refusal = session.receive(request)
            if refusal is not None:
                self._publisher.refused(node, refusal)

        receive(first)
        rendering: Rendering | None = None
        try:
            async with reading(request_iterator, receive, self._publisher.subscribe) as wakeup:
                wakeup.wake()
                while await wakeup.wait():
                    rendering = self._render(epoch, rendering)
                    if rendering is None:
                        continue
                    for response in session.due(rendering):
                        yield response
                    node.sent = rendering.version
                    if not session.holds(rendering) or node.acknowledged is rendering.version:
                        continue
                    if await self._is_warming():
                        asyncio.get_running_loop().call_later(_WARMING_POLL_S, wakeup.wake)
                    else:
                        self._publisher.acknowledged(node, rendering.version)
        finally:
            self._publisher.disconnect_node(node)
            _log.info("Envoy %s is gone", epoch)

    async def DeltaAggregatedResources(
        self,
        request_iterator: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[discovery_pb2.DeltaDiscoveryResponse]:
        """Not offered: the bootstrap file asks for the state-of-the-world variant."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use StreamAggregatedResources")
        yield discovery_pb2.DeltaDiscoveryResponse()

    def _render(self, epoch: str, before: Rendering | None) -> Rendering | None:
        """Renders the newest version for this Envoy, or keeps the previous one if that fails."""
        version = self._publisher.version
        if version is None or (before is not None and before.version.number == version.number):
            return before
        try:
            return render(version, self._build_resources(version, epoch))
        except Exception:  # noqa: BLE001  (Envoy keeps what it has; the log says why)
            _log.exception("version %s cannot be made into resources", version.snapshot.version)
            return before
