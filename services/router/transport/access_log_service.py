"""Receives Envoy's log of attempts. It accepts everything and answers nothing, so it never delays an Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import grpc.aio
from spendgate_envoy.envoy.data.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc

from services.chassis.grpc_server import Registration
from services.router.usecases.attempt_stats import Attempt, AttemptStats

SERVICE = "envoy.service.accesslog.v3.AccessLogService"

# Envoy logs an attempt when its connection is ready and when it ends. Only the end has the result.
_ENDS = frozenset({accesslog_pb2.AccessLogType.NotSet, accesslog_pb2.AccessLogType.UpstreamEnd})


class AccessLogService(als_pb2_grpc.AccessLogServiceServicer):
    """Feeds attempts to the stats."""

    def __init__(self, stats: AttemptStats) -> None:
        self._stats = stats

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(als_pb2_grpc.add_AccessLogServiceServicer_to_server, self))

    async def StreamAccessLogs(
        self,
        request_iterator: AsyncIterator[als_pb2.StreamAccessLogsMessage],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> als_pb2.StreamAccessLogsResponse:
        """Reads until the Envoy disconnects."""
        async for message in request_iterator:
            self._stats.record(attempts_of(message))
        return als_pb2.StreamAccessLogsResponse()


def attempts_of(message: als_pb2.StreamAccessLogsMessage) -> Iterator[Attempt]:
    """Returns the attempts in a message that have ended."""
    for entry in message.http_logs.log_entry:
        facts = entry.common_properties
        if facts.access_log_type not in _ENDS or not facts.upstream_cluster:
            continue
        duration_ms = facts.duration.ToMilliseconds()
        if not facts.HasField("duration"):
            duration_ms = facts.time_to_last_upstream_rx_byte.ToMilliseconds()
        yield Attempt(
            cluster=facts.upstream_cluster,
            status=entry.response.response_code.value,
            end_time_ms=facts.start_time.ToMilliseconds() + duration_ms,
            duration_ms=duration_ms,
            first_byte_ms=facts.time_to_first_upstream_rx_byte.ToMilliseconds()
            if facts.HasField("time_to_first_upstream_rx_byte")
            else None,
        )
