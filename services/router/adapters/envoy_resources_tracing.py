"""Spans for the request, each attempt and the Check, with the GenAI attributes that are known."""

from __future__ import annotations

from google.protobuf import wrappers_pb2
from spendgate_envoy.envoy.config.trace.v3 import http_tracer_pb2, opentelemetry_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.type.tracing.v3 import custom_tag_pb2
from spendgate_envoy.envoy.type.v3 import percent_pb2

from services.kernel.envoy_contract import (
    ADMISSION_NAMESPACE,
    ATTEMPT_NAMESPACE,
    REQUEST_NAMESPACE,
    USAGE_NAMESPACE,
    AdmissionKey,
    AttemptKey,
    RequestKey,
)
from services.kernel.spool_contract import UsageKey
from services.router.adapters.envoy_resources_access_log import METHOD_WITHOUT_KEYS, PATH_WITHOUT_KEYS
from services.router.adapters.envoy_resources_clusters import OTLP_CLUSTER
from services.router.adapters.envoy_resources_wire import grpc_cluster, metadata_count, metadata_text, pack
from services.router.domain.snapshot import NodeSettings

_SERVICE_NAME = "spendgate-envoy"
_EXPORT_TIMEOUT_MS = 1_000
# Spans waiting for a slow receiver, in all workers together. Others are dropped.
_QUEUE = 4_096


def tracing(node: NodeSettings) -> hcm.HttpConnectionManager.Tracing | None:
    """Returns the tracing of the data listener, or None without a receiver."""
    if not node.otlp_host:
        return None
    provider = opentelemetry_pb2.OpenTelemetryConfig(
        grpc_service=grpc_cluster(OTLP_CLUSTER, _EXPORT_TIMEOUT_MS),
        service_name=_SERVICE_NAME,
        max_cache_size=wrappers_pb2.UInt32Value(value=_QUEUE),
    )
    return hcm.HttpConnectionManager.Tracing(
        provider=http_tracer_pb2.Tracing.Http(name="envoy.tracers.opentelemetry", typed_config=pack(provider)),
        random_sampling=percent_pb2.Percent(value=node.trace_sampling_percent),
        spawn_upstream_span=wrappers_pb2.BoolValue(value=True),
        operation=f"{METHOD_WITHOUT_KEYS} {PATH_WITHOUT_KEYS}",
        upstream_operation="chat %UPSTREAM_CLUSTER%",
        # `http.url` is cut to the host. A path carries its query, and a query may carry a key.
        max_path_tag_length=wrappers_pb2.UInt32Value(value=0),
        custom_tags=_tags(),
    )


def _tags() -> list[custom_tag_pb2.CustomTag]:
    def text(name: str, namespace: str, key: str) -> custom_tag_pb2.CustomTag:
        return custom_tag_pb2.CustomTag(tag=name, value=metadata_text(namespace, key))

    def count(name: str, operator: str) -> custom_tag_pb2.CustomTag:
        return custom_tag_pb2.CustomTag(tag=name, value=operator, value_type=custom_tag_pb2.CustomTag.INT)

    return [
        custom_tag_pb2.CustomTag(tag="gen_ai.operation.name", literal=custom_tag_pb2.CustomTag.Literal(value="chat")),
        text("gen_ai.request.model", REQUEST_NAMESPACE, RequestKey.MODEL),
        text("gen_ai.response.model", USAGE_NAMESPACE, UsageKey.MODEL),
        count("gen_ai.usage.input_tokens", metadata_count(USAGE_NAMESPACE, UsageKey.INPUT_TOKENS)),
        count("gen_ai.usage.output_tokens", metadata_count(USAGE_NAMESPACE, UsageKey.OUTPUT_TOKENS)),
        text("spendgate.target", ATTEMPT_NAMESPACE, AttemptKey.TARGET),
        count("spendgate.attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        text("spendgate.reservation.id", ADMISSION_NAMESPACE, AdmissionKey.RESERVATION),
        text("spendgate.decision", ADMISSION_NAMESPACE, AdmissionKey.DECISION),
        text("spendgate.policy.binding", ADMISSION_NAMESPACE, AdmissionKey.POLICY),
        text("spendgate.key.id", ADMISSION_NAMESPACE, AdmissionKey.KEY_ID),
        text("spendgate.team", ADMISSION_NAMESPACE, AdmissionKey.TEAM),
        text("spendgate.project", ADMISSION_NAMESPACE, AdmissionKey.PROJECT),
        text("spendgate.environment", ADMISSION_NAMESPACE, AdmissionKey.ENVIRONMENT),
    ]
