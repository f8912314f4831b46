"""gRPC health for services that other processes serve, beside that of one's own.

The admin listener sends all health checks to one server, since the name that is asked for stands in the message, where
Envoy cannot see it. That server passes on what is not its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_TIMEOUT_S = 2.0


class NeighbourHealth(health.HealthServicer):  # type: ignore[misc]  # it has no types
    """Answers for its own services, and for its neighbours with what they say themselves."""

    def __init__(self, neighbours: Mapping[str, grpc.Channel]) -> None:
        """`neighbours`: who serves a service, by its full name."""
        super().__init__()
        self._neighbours = {name: health_pb2_grpc.HealthStub(channel) for name, channel in neighbours.items()}

    def Check(  # noqa: N802  (the name of the RPC)
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """A neighbour that does not answer does not serve."""
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
        """Of its own services only: a watch of a neighbour is UNIMPLEMENTED, which clients know how to take."""
        if request.service not in self._neighbours:
            return super().Watch(request, context, *callback)
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("this service can be checked here, but not watched")
        return iter(())
