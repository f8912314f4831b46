"""The errands of the messenger, in its process. `services.cli.supervisor.messenger` describes requests and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from spendgate.ledger.v1.ledger_service_pb2 import GetLedgerStatusRequest
from spendgate.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from spendgate.quota.v1.quota_service_pb2 import GetQuotaStatusRequest, QuotaStatus
from spendgate.quota.v1.quota_service_pb2_grpc import QuotaServiceStub
from spendgate.router.v1.router_service_pb2 import GetRouterStatusRequest, RouterStatus
from spendgate.router.v1.router_service_pb2_grpc import RouterServiceStub

from services.chassis.grpc_server import open_channel
from services.cli.applying import apply_configuration
from services.cli.configuration import Configuration, load_configuration
from services.cli.configuration.source import ConfigurationError
from services.cli.gateway import Gateway
from services.cli.gateway_address import GatewayAddress, find_gateway
from services.cli.problems import CommandError, Misuse

_TIMEOUT_S = 2.0
_HEALTH = health_pb2.HealthCheckRequest()

T = TypeVar("T")


class Errands:
    """What the messenger can do. Questions to a service that does not answer have the answer "not yet"."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ`: where the configuration's secrets are."""
        self._environ = environ
        self._configuration: Configuration | None = None
        self._by_name: Mapping[str, Callable[..., object]] = {
            "load": self.load,
            "apply": self.apply,
            "is_serving": is_serving,
            "is_configured": is_configured,
            "is_booked": is_booked,
        }

    def answer(self, line: str) -> str:
        """Does the errand of a line, and returns the line of its answer."""
        arguments: dict[str, Any] = json.loads(line)
        errand = self._by_name[arguments.pop("errand")]
        try:
            return json.dumps({"answer": errand(**arguments)})
        except CommandError as error:
            return json.dumps({"problem": str(error), "is_misuse": isinstance(error, Misuse)})

    def load(self, file: str) -> None:
        """Reads a configuration, for `apply`.

        Raises:
            Misuse: it has mistakes, one line for each.
        """
        try:
            self._configuration = load_configuration(Path(file))
        except ConfigurationError as error:
            raise Misuse(str(error)) from error

    def apply(self, admin: str, data_dir: str, sockets: Mapping[str, str]) -> Sequence[str]:
        """Applies the configuration that was loaded, and returns warnings.

        Raises:
            Refused: a service does not accept it.
        """
        if self._configuration is None:
            raise RuntimeError("no configuration was loaded")
        found = find_gateway(admin, Path(data_dir), {})
        with Gateway(GatewayAddress(found.admin, found.token, sockets=sockets)) as gateway:
            return apply_configuration(gateway, self._configuration, self._environ, reason="spendgate up").warnings


def is_serving(socket: str) -> bool:
    """Whether the gRPC server on this socket reports that it serves."""
    answer = _asked(socket, lambda channel: health_pb2_grpc.HealthStub(channel).Check(_HEALTH, timeout=_TIMEOUT_S))
    return answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING


def is_configured(router: str, quotas: Sequence[str], epoch: str) -> bool:
    """Whether Envoy's run `epoch` has the router's configuration, and each quota prices and the router's plan."""
    routing = _router_status(router)
    if routing is None or not routing.plan_version or routing.plan_version_taken != routing.plan_version:
        return False
    deciding = [_quota_status(quota) for quota in quotas]
    has_all = all(quota and quota.price_version and quota.plan_version == routing.plan_version for quota in deciding)
    return has_all and any(
        node.epoch == epoch and node.version_acknowledged == routing.version for node in routing.nodes
    )


def is_booked(ledger: str) -> bool:
    """Whether the ledger has booked and settled all calls."""
    request = GetLedgerStatusRequest()
    answer = _asked(
        ledger, lambda channel: LedgerServiceStub(channel).GetLedgerStatus(request, timeout=_TIMEOUT_S).status
    )
    return answer is not None and answer.spool_backlog_bytes == 0 and answer.unsettled_calls == 0


def _router_status(socket: str) -> RouterStatus | None:
    request = GetRouterStatusRequest()
    return _asked(
        socket, lambda channel: RouterServiceStub(channel).GetRouterStatus(request, timeout=_TIMEOUT_S).status
    )


def _quota_status(socket: str) -> QuotaStatus | None:
    request = GetQuotaStatusRequest()
    return _asked(
        socket, lambda channel: QuotaServiceStub(channel).GetQuotaStatus(request, timeout=_TIMEOUT_S).quota_status
    )


def _asked(socket: str, ask: Callable[[grpc.Channel], T]) -> T | None:
    with open_channel(f"unix:{socket}") as channel:
        try:
            return ask(channel)
        except grpc.RpcError:
            return None
