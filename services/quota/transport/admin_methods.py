"""Finds the RPC of a request on the admin plane. The request may be gRPC, or REST that Envoy translates later."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import ServiceDescriptor
from spendgate.ledger.v1 import ledger_service_pb2
from spendgate.quota.v1 import (
    admin_service_pb2,
    doubt_service_pb2,
    override_service_pb2,
    quota_service_pb2,
    simulation_service_pb2,
)
from spendgate.router.v1 import router_service_pb2

ADMIN_SERVICES: Sequence[ServiceDescriptor] = (
    quota_service_pb2.DESCRIPTOR.services_by_name["QuotaService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    override_service_pb2.DESCRIPTOR.services_by_name["OverrideService"],
    doubt_service_pb2.DESCRIPTOR.services_by_name["DoubtService"],
    simulation_service_pb2.DESCRIPTOR.services_by_name["SimulationService"],
    router_service_pb2.DESCRIPTOR.services_by_name["RouterService"],
    ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"],
)
"""The services that Envoy's admin listener routes, wherever they run."""
ROUTER_SERVICE = router_service_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name
"""A service of another process. The admin listener asks quota for its reflection and health, too."""
LEDGER_SERVICE = ledger_service_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
"""Likewise."""
_PATTERNS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\\\{\w+(=\\\*\\\*)?\\\}")


def method_of(http_method: str, path: str) -> str:
    """The RPC by its gRPC name, e.g. "/spendgate.quota.v1.QuotaService/ListTeams".

    Any path that is not one of our REST calls comes back unchanged: it is such a name already, or unknown.
    """
    plain = path.partition("?")[0]
    for verb, template, method in _TEMPLATES:
        if verb == http_method and template.fullmatch(plain):
            return method
    return plain


def _templates() -> Iterator[tuple[str, re.Pattern[str], str]]:
    for service in ADMIN_SERVICES:
        for method in service.methods:
            rule: Any = method.GetOptions().Extensions[annotations_pb2.http]
            for verb in _PATTERNS:
                if template := getattr(rule, verb):
                    pattern = _VARIABLE.sub(_matching, re.escape(template))
                    yield verb.upper(), re.compile(pattern), f"/{service.full_name}/{method.name}"


def _matching(variable: re.Match[str]) -> str:
    """A variable is one path segment without a colon and verb. `{name=**}` matches everything that follows."""
    return ".+" if variable[1] else "[^/:]+"


_TEMPLATES = tuple(_templates())
