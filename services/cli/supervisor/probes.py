"""Probes of the processes that the supervisor started. Each answers "not yet" instead of raising."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from spendgate.ledger.v1.ledger_service_pb2 import GetLedgerStatusRequest, LedgerStatus
from spendgate.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from spendgate.quota.v1.quota_service_pb2 import GetQuotaStatusRequest, QuotaStatus
from spendgate.quota.v1.quota_service_pb2_grpc import QuotaServiceStub
from spendgate.router.v1.router_service_pb2 import GetRouterStatusRequest, RouterStatus
from spendgate.router.v1.router_service_pb2_grpc import RouterServiceStub

from services.chassis.grpc_server import open_aio_channel

_TIMEOUT_S = 2.0
_HEALTH = health_pb2.HealthCheckRequest()

T = TypeVar("T")


async def is_serving(socket: str) -> bool:
    """Whether the gRPC server on this socket reports that it serves."""
    answer = await _asked(
        socket, lambda channel: health_pb2_grpc.HealthStub(channel).Check(_HEALTH, timeout=_TIMEOUT_S)
    )
    return answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING


async def router_status(socket: str) -> RouterStatus | None:
    """Returns the router's status, or None when it does not answer."""
    request = GetRouterStatusRequest()
    answer = await _asked(
        socket, lambda channel: RouterServiceStub(channel).GetRouterStatus(request, timeout=_TIMEOUT_S)
    )
    return None if answer is None else answer.status


async def quota_status(socket: str) -> QuotaStatus | None:
    """Returns quota's status, or None when it does not answer."""
    request = GetQuotaStatusRequest()
    answer = await _asked(socket, lambda channel: QuotaServiceStub(channel).GetQuotaStatus(request, timeout=_TIMEOUT_S))
    return answer.quota_status if answer is not None else None


async def ledger_status(socket: str) -> LedgerStatus | None:
    """Returns the ledger's status, or None when it does not answer."""
    request = GetLedgerStatusRequest()
    answer = await _asked(
        socket, lambda channel: LedgerServiceStub(channel).GetLedgerStatus(request, timeout=_TIMEOUT_S)
    )
    return None if answer is None else answer.status


async def _asked(socket: str, ask: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T | None:
    async with open_aio_channel(f"unix:{socket}") as channel:
        try:
            return await ask(channel)
        except grpc.aio.AioRpcError:
            return None


async def http_status(url: str) -> int | None:
    """Returns the status of a GET without credentials, or None when nothing answers."""
    return await asyncio.to_thread(_http_status, url)


def _http_status(url: str) -> int | None:
    parts = urlsplit(url)
    with closing(_connection(parts)) as connection:
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    if url.scheme == "http":
        return http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT_S)
    # This is our own listener on this machine, reached by address. Its certificate names something else.
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(url.netloc, timeout=_TIMEOUT_S, context=unchecked)
