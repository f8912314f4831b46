"""The cluster of the quotas. They answer only Checks, so nothing else can delay a call.

Envoy keeps one connection per worker and endpoint. If several quotas shared a socket, whichever accepts first would get
it. So each quota has its own socket and is an endpoint of its own.
"""

from __future__ import annotations

from google.protobuf import wrappers_pb2
from spendgate_envoy.envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from spendgate_envoy.envoy.config.core.v3 import address_pb2, health_check_pb2, protocol_pb2
from spendgate_envoy.envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from spendgate_envoy.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from spendgate_envoy.envoy.type.v3 import percent_pb2

from services.kernel.envoy_contract import Socket
from services.router.adapters.envoy_resources_wire import milliseconds, pack

QUOTA_CLUSTER = "quota"
_CONNECT_TIMEOUT_MS = 500
_PARALLEL_MAX = 10_000
# A hanging quota is detected and its connection dropped, so that its successor is found.
_PING_EVERY_MS = 5_000
_PONG_WITHIN_MS = 2_000
# With several quotas, one that hangs or is gone gets no questions from the next health check or failed Check on.
_HEALTH_EVERY_MS = 500
_EJECTED_FOR_MS = 1_000
_ALL_PERCENT = 100
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def quota_cluster(quotas: int) -> cluster_pb2.Cluster:
    """Returns one endpoint for each quota."""
    options = http_protocol_options_pb2.HttpProtocolOptions(
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
                connection_keepalive=protocol_pb2.KeepaliveSettings(
                    interval=milliseconds(_PING_EVERY_MS), timeout=milliseconds(_PONG_WITHIN_MS)
                )
            )
        )
    )
    endpoints = [_endpoint(number) for number in range(1, quotas + 1)]
    parallel_max = wrappers_pb2.UInt32Value(value=_PARALLEL_MAX)
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=parallel_max,
        max_pending_requests=parallel_max,
        max_requests=parallel_max,
        max_retries=parallel_max,
    )
    cluster = cluster_pb2.Cluster(
        name=QUOTA_CLUSTER,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=milliseconds(_CONNECT_TIMEOUT_MS),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=QUOTA_CLUSTER,
            endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=endpoints)],
        ),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    if quotas > 1:
        _leave_out_the_unwell(cluster)
    return cluster


def _endpoint(number: int) -> endpoint_components_pb2.LbEndpoint:
    address = address_pb2.Address(pipe=address_pb2.Pipe(path=Socket.QUOTA.of(number)))
    return endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))


def _leave_out_the_unwell(cluster: cluster_pb2.Cluster) -> None:
    cluster.lb_policy = cluster_pb2.Cluster.LEAST_REQUEST
    # Never ask one that is known to be unhealthy, even if most of them are.
    cluster.common_lb_config.healthy_panic_threshold.CopyFrom(percent_pb2.Percent(value=0))
    cluster.health_checks.append(
        health_check_pb2.HealthCheck(
            timeout=milliseconds(_HEALTH_EVERY_MS),
            interval=milliseconds(_HEALTH_EVERY_MS),
            no_traffic_interval=milliseconds(_HEALTH_EVERY_MS),
            unhealthy_threshold=wrappers_pb2.UInt32Value(value=1),
            healthy_threshold=wrappers_pb2.UInt32Value(value=1),
            grpc_health_check=health_check_pb2.HealthCheck.GrpcHealthCheck(),
        )
    )
    cluster.outlier_detection.CopyFrom(
        outlier_detection_pb2.OutlierDetection(
            interval=milliseconds(_HEALTH_EVERY_MS),
            base_ejection_time=milliseconds(_EJECTED_FOR_MS),
            max_ejection_time=milliseconds(_EJECTED_FOR_MS),
            max_ejection_percent=wrappers_pb2.UInt32Value(value=_ALL_PERCENT),
            split_external_local_origin_errors=True,
            consecutive_local_origin_failure=wrappers_pb2.UInt32Value(value=1),
        )
    )
