"""Quota and router as a test scripts them: what Envoy asks, and what they answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from google.protobuf import any_pb2, struct_pb2
from google.rpc import status_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2
from spendgate_envoy.envoy.service.accesslog.v3 import als_pb2, als_pb2_grpc
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from spendgate_envoy.envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from spendgate_envoy.envoy.type.v3 import http_status_pb2

from services.chassis.line_text import write_line_text
from services.kernel.envoy_contract import KEY_STAGE, STAGE_EXTENSION, AdmissionKey
from services.kernel.spool_contract import AdmittedKey
from services.router.adapters.envoy_resources import EnvoyResources

Decide = Callable[[external_auth_pb2.CheckRequest], external_auth_pb2.CheckResponse]


def allow(
    targets: list[dict[str, Any]],
    headers: Mapping[str, str],
    answer_headers: Mapping[str, str] | None = None,
    **admission: Any,
) -> external_auth_pb2.CheckResponse:
    """Quota's ALLOW for a chain. `admission` overrides and adds fields; None takes one away.

    The `cluster` of a target goes into its priority group.
    """
    clusters = [target["cluster"] for target in targets]
    targets = [{name: value for name, value in target.items() if name != "cluster"} for target in targets]
    fields: dict[str, Any] = {
        "reservation": "rsv_1",
        "key_id": "key_1",
        "key": "app",
        "team": "blue",
        "environment": "prod",
        "model": "asked",
        "decision": "allow",
        "policy": "blue-prod",
        "chain": ",".join(target["name"] for target in targets),
        "expected_input_tokens": 10,
        "expected_output_tokens": 20,
        "priority_groups": [
            {"name": str(at), "clusters": [{"cluster_name": cluster, "weight": 1}]}
            for at, cluster in enumerate(clusters)
        ],
        "targets": targets,
    }
    said = {name: value for name, value in (fields | admission).items() if value is not None}
    booked = {name: said[name] for name in set(AdmittedKey) & said.keys()}
    metadata = struct_pb2.Struct()
    metadata.update({name: value for name, value in said.items() if name in set(AdmissionKey)})
    metadata.update({AdmissionKey.ADMITTED: write_line_text(json.dumps(booked)[1:-1])})
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=0),
        ok_response=external_auth_pb2.OkHttpResponse(
            headers=[_header(name, value) for name, value in headers.items()],
            headers_to_remove=["authorization", "x-api-key", "api-key", "x-goog-api-key"],
            response_headers_to_add=[_header(name, value) for name, value in (answer_headers or {}).items()],
        ),
        dynamic_metadata=metadata,
    )


def deny(status: int, body: str, headers: Mapping[str, str]) -> external_auth_pb2.CheckResponse:
    """A complete answer by quota: a refusal, or the list of models."""
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=7),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=status),  # type: ignore[arg-type]
            headers=[_header(name, value) for name, value in headers.items()],
            body=body,
        ),
    )


def body_may_come(holder: str = "key_1") -> external_auth_pb2.CheckResponse:
    """Quota's answer to the question about a good key, before the body comes."""
    metadata = struct_pb2.Struct()
    metadata.update({AdmissionKey.HOLDER: holder})
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=0),
        # A header makes Envoy choose the route again.
        ok_response=external_auth_pb2.OkHttpResponse(headers=[_header("x-envoy-max-retries", "0")]),
        dynamic_metadata=metadata,
    )


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


class ScriptedQuota(external_auth_pb2_grpc.AuthorizationServicer):
    """Answers Checks with `decide`, after `delay_s`, and those about a key alone with `decide_key`."""

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        self.decide_key: Decide = lambda _: body_may_come()
        self.delay_s = 0.0
        self.checks: list[external_auth_pb2.CheckRequest] = []
        self.key_checks: list[external_auth_pb2.CheckRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.cancelled = 0

    async def Check(self, request: external_auth_pb2.CheckRequest, context: Any) -> external_auth_pb2.CheckResponse:
        asks_for_key = request.attributes.context_extensions.get(STAGE_EXTENSION) == KEY_STAGE
        (self.key_checks if asks_for_key else self.checks).append(request)
        self.metadata.append({str(key): str(value) for key, value in context.invocation_metadata() or ()})
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.decide_key(request) if asks_for_key else self.decide(request)


class ScriptedRouter(als_pb2_grpc.AccessLogServiceServicer, ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """Sends resources, state of the world, all kinds on one stream; keeps what Envoy says about attempts."""

    def __init__(self) -> None:
        self.attempts: list[Any] = []
        self.refusals: list[str] = []
        self.acknowledged: list[str] = []
        self._resources: EnvoyResources | None = None
        self._changed = asyncio.Event()

    async def publish(self, resources: EnvoyResources) -> None:
        self._resources = resources
        self._changed.set()

    async def StreamAccessLogs(
        self, request_iterator: AsyncIterator[als_pb2.StreamAccessLogsMessage], context: Any
    ) -> als_pb2.StreamAccessLogsResponse:
        async for message in request_iterator:
            self.attempts.extend(message.http_logs.log_entry)
        return als_pb2.StreamAccessLogsResponse()

    def DeltaAggregatedResources(self, request_iterator: Any, context: Any) -> Any:
        raise NotImplementedError("state of the world only")

    async def StreamAggregatedResources(
        self, request_iterator: AsyncIterator[discovery_pb2.DiscoveryRequest], context: Any
    ) -> AsyncIterator[discovery_pb2.DiscoveryResponse]:
        wanted: dict[str, set[str]] = {}
        sent: dict[str, bytes] = {}

        async def read() -> None:
            async for request in request_iterator:
                if request.error_detail.message:
                    self.refusals.append(request.error_detail.message)
                elif request.response_nonce:
                    self.acknowledged.append(request.type_url)
                wanted[request.type_url] = set(request.resource_names)
                self._changed.set()

        reading = asyncio.create_task(read())
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for url, kind in _KINDS.items():
                    if url not in wanted:
                        continue
                    response = _pack(url, getattr(self._resources, kind), wanted[url])
                    content = response.SerializeToString(deterministic=True)
                    if sent.get(url) != content:
                        sent[url] = content
                        response.version_info = response.nonce = str(len(self.acknowledged))
                        yield response
        finally:
            reading.cancel()


# In the order in which they must be sent: what is named before what names it.
_KINDS = {
    "type.googleapis.com/envoy.config.cluster.v3.Cluster": "clusters",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret": "secrets",
    "type.googleapis.com/envoy.config.listener.v3.Listener": "listeners",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration": "routes",
}


def _pack(url: str, resources: Mapping[str, Any], names: set[str]) -> discovery_pb2.DiscoveryResponse:
    response = discovery_pb2.DiscoveryResponse(type_url=url)
    for name, message in resources.items():
        if not names or name in names:
            packed = any_pb2.Any()
            packed.Pack(message, deterministic=True)
            response.resources.append(packed)
    return response
