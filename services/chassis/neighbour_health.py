"""gRPC health for a process's own services, and for services of neighbouring processes.

The admin listener sends all health checks to one server: the requested name is in the message, where Envoy cannot see
it. That server forwards checks of services that it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_TIMEOUT_S = 2.0


class NeighbourHealth(health.HealthServicer):  # type: ignore[misc]  # it has no types
    """Answers for its own services, and forwards checks of its neighbours' services."""

    def __init__(self, neighbours: Mapping[str, grpc.Channel]) -> None:
        """`neighbours` maps the full name of a service to the channel of its server."""
        super().__init__()
        self._neighbours = {name: health_pb2_grpc.HealthStub(channel) for name, channel in neighbours.items()}

    def Check(  # noqa: N802  (the name of the RPC)
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """A neighbour that does not answer counts as not serving."""
        neighbour = self._neighbours.get(request.service)
        if neighbour is None:
            return super().Check(request, context)
        try:
            return neighbour.Check(request, timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)

    def Watch(  # noqa: N802  (the name of the RPC)
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, *callback: Any
    ) -> Any:
        """Watches own services only. For a neighbour it answers UNIMPLEMENTED, which clients can handle."""
        if request.service not in self._neighbours:
            return super().Watch(request, context, *callback)
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("this service can be checked here, but not watched")
        return iter(())
