"""The data listener, which carries all calls: its filters, and its bounds on clients."""

from __future__ import annotations

from google.protobuf import wrappers_pb2
from spendgate_envoy.envoy.config.core.v3 import address_pb2, base_pb2, config_source_pb2, extension_pb2, protocol_pb2
from spendgate_envoy.envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from spendgate_envoy.envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from spendgate_envoy.envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from spendgate_envoy.envoy.extensions.filters.http.lua.v3 import lua_pb2
from spendgate_envoy.envoy.extensions.filters.http.router.v3 import router_pb2
from spendgate_envoy.envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from spendgate_envoy.envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    header_mutation_pb2 as early_pb2,
)
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from spendgate_envoy.envoy.type.matcher.v3 import string_pb2
from spendgate_envoy.envoy.type.v3 import http_status_pb2

from services.kernel.envoy_contract import (
    BETA_HEADER,
    CLIENT_REQUEST_ID_HEADER,
    REQUEST_NAMESPACE,
    RUN_HEADER,
    STREAM_BUFFER_BYTES,
    TAGS_HEADER,
)
from services.router.adapters.envoy_resources_access_log import (
    ATTEMPT_REPORT_MS,
    attempt_logs,
    broken_log,
    call_logs,
)
from services.router.adapters.envoy_resources_cors import cors_filter
from services.router.adapters.envoy_resources_gate import gate_filters
from services.router.adapters.envoy_resources_local_replies import local_replies
from services.router.adapters.envoy_resources_quota import QUOTA_CLUSTER
from services.router.adapters.envoy_resources_routes import (
    ADMISSION_FILTER,
    DATA_ROUTES,
    METER_FILTER,
    REQUEST_INFO_FILTER,
)
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.envoy_resources_wire import (
    exact,
    from_ads,
    grpc_cluster,
    http_filter,
    matching,
    milliseconds,
    pack,
    remove_headers,
    remove_matching,
    set_header,
)
from services.router.domain.snapshot import NodeSettings

DATA_LISTENER = "data"
_CHECKED_HEADERS = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "anthropic-version",
    BETA_HEADER,
    "content-type",
    "traceparent",
    "x-request-id",
    "x-stainless-retry-count",
    RUN_HEADER,
    TAGS_HEADER,
)
"""The request headers that quota sees."""
# RE2 has no "all but". This matches any name under our prefix except "run" and "tags", by length and letter.
_SPOOFABLE = "x-spendgate-(.{0,2}|[^r]..|.[^u].|..[^n]|[^t]...|.[^a]..|..[^g].|...[^s]|.{5,})"
_HEADERS_KIB_MAX = 60
_HEADERS_COUNT_MAX = 100
_HTTP2_STREAMS_MAX = 1_000
_HTTP2_WINDOW_BYTES = 1 << 20
_HOST_OF_HTTP_10 = "spendgate"


def data_listener(node: NodeSettings, scripts: Scripts) -> listener_pb2.Listener:
    """Returns the listener for calls."""
    manager = connection_manager(node, "data", DATA_ROUTES)
    manager.http_filters.extend(_filters(node, scripts))
    manager.access_log.extend([*call_logs(node), broken_log()])
    manager.local_reply_config.CopyFrom(local_replies())
    return listener(DATA_LISTENER, node.data_host, node.data_port, manager, node)


def connection_manager(node: NodeSettings, name: str, routes: str) -> hcm.HttpConnectionManager:
    """Returns what the data and admin listeners share: how they speak HTTP, and how long they wait."""
    return hcm.HttpConnectionManager(
        stat_prefix=name,
        rds=hcm.Rds(config_source=from_ads(), route_config_name=routes),
        use_remote_address=wrappers_pb2.BoolValue(value=True),
        skip_xff_append=True,
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        early_header_mutation_extensions=[_strip_spoofed()],
        normalize_path=wrappers_pb2.BoolValue(value=True),
        generate_request_id=wrappers_pb2.BoolValue(value=True),
        always_set_request_id_in_response=True,
        max_request_headers_kb=wrappers_pb2.UInt32Value(value=_HEADERS_KIB_MAX),
        request_headers_timeout=milliseconds(node.headers_timeout_ms),
        request_timeout=milliseconds(node.body_timeout_ms),
        stream_idle_timeout=milliseconds(node.max_stream_seconds * 1000),
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            max_stream_duration=milliseconds(node.max_stream_seconds * 1000),
            max_headers_count=wrappers_pb2.UInt32Value(value=_HEADERS_COUNT_MAX),
            idle_timeout=milliseconds(node.idle_timeout_ms),
            headers_with_underscores_action=protocol_pb2.HttpProtocolOptions.DROP_HEADER,
        ),
        # Old clients and load tests speak it. An answer of unknown length ends with the connection.
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(
            accept_http_10=True, default_host_for_http_10=_HOST_OF_HTTP_10
        ),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(
            max_concurrent_streams=wrappers_pb2.UInt32Value(value=_HTTP2_STREAMS_MAX),
            initial_stream_window_size=wrappers_pb2.UInt32Value(value=_HTTP2_WINDOW_BYTES),
            initial_connection_window_size=wrappers_pb2.UInt32Value(value=_HTTP2_WINDOW_BYTES),
        ),
    )


def listener(
    name: str, host: str, port: int, manager: hcm.HttpConnectionManager, node: NodeSettings
) -> listener_pb2.Listener:
    """Returns a TCP listener, with TLS if the node has a certificate."""
    chain = listener_components_pb2.FilterChain(
        filters=[
            listener_components_pb2.Filter(
                name="envoy.filters.network.http_connection_manager", typed_config=pack(manager)
            )
        ],
        transport_socket=_downstream_tls(node),
        transport_socket_connect_timeout=milliseconds(node.headers_timeout_ms),
    )
    return listener_pb2.Listener(
        name=name,
        address=address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port)),
        filter_chains=[chain],
        # A peer that connects and stays silent is dropped after this, before it counts as a connection.
        listener_filters=[_first_bytes(node)],
        listener_filters_timeout=milliseconds(node.headers_timeout_ms),
        per_connection_buffer_limit_bytes=wrappers_pb2.UInt32Value(value=STREAM_BUFFER_BYTES),
    )


def _first_bytes(node: NodeSettings) -> listener_components_pb2.ListenerFilter:
    """Waits for the first bytes of a connection. Its findings are not used."""
    if node.tls_certificate:
        return listener_components_pb2.ListenerFilter(
            name="envoy.filters.listener.tls_inspector", typed_config=pack(tls_inspector_pb2.TlsInspector())
        )
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.http_inspector", typed_config=pack(http_inspector_pb2.HttpInspector())
    )


def check(node: NodeSettings) -> ext_authz_pb2.ExtAuthz:
    """Returns the question to quota. If quota cannot answer, the result is a 503, never a pass."""
    return ext_authz_pb2.ExtAuthz(
        transport_api_version=config_source_pb2.V3,
        grpc_service=grpc_cluster(QUOTA_CLUSTER, node.check_timeout_ms, x_spendgate_epoch=node.epoch),
        failure_mode_allow=False,
        status_on_error=http_status_pb2.HttpStatus(code=http_status_pb2.ServiceUnavailable),
        # The route was chosen before quota answered. Only a new choice sees the chain in its answer.
        clear_route_cache=True,
        metadata_context_namespaces=[REQUEST_NAMESPACE],
        allowed_headers=string_pb2.ListStringMatcher(patterns=[exact(name) for name in _CHECKED_HEADERS]),
    )


def _filters(node: NodeSettings, scripts: Scripts) -> list[hcm.HttpFilter]:
    """Returns the filters in the order of requests. Answers pass them in reverse. `envoy/README.md` says why."""
    admission = check(node)
    router = router_pb2.Router(
        upstream_log=attempt_logs(node),
        upstream_log_options=router_pb2.Router.UpstreamAccessLogOptions(
            upstream_log_flush_interval=milliseconds(ATTEMPT_REPORT_MS)
        ),
        suppress_envoy_headers=True,
    )
    return [
        cors_filter(),
        http_filter("query_key", _key_from_query()),
        http_filter(METER_FILTER, _lua(scripts.meter)),
        *gate_filters(admission, scripts),
        http_filter(REQUEST_INFO_FILTER, _lua(scripts.request_info)),
        http_filter(ADMISSION_FILTER, admission),
        http_filter("envoy.filters.http.router", router),
    ]


def _lua(source: str) -> lua_pb2.Lua:
    return lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=source))


def _key_from_query() -> header_mutation_pb2.HeaderMutation:
    """Moves `?key=`, where Gemini's clients may put their key, into a header: paths are logged, headers are not."""
    return header_mutation_pb2.HeaderMutation(
        mutations=header_mutation_pb2.Mutations(
            request_mutations=[set_header("x-goog-api-key", "%QUERY_PARAM(key)%")],
            query_parameter_mutations=[base_pb2.KeyValueMutation(remove="key")],
        )
    )


def _strip_spoofed() -> extension_pb2.TypedExtensionConfig:
    """Removes headers that only the gateway may set, before anything reads them."""
    mutations = [
        remove_matching(matching(_SPOOFABLE)),
        remove_matching(matching("x-envoy-.*")),
        # Envoy makes its own id only if the client's is gone.
        set_header(CLIENT_REQUEST_ID_HEADER, "%REQ(X-REQUEST-ID):128%"),
        *remove_headers(["x-request-id"]),
    ]
    return extension_pb2.TypedExtensionConfig(
        name="spoofed", typed_config=pack(early_pb2.HeaderMutation(mutations=mutations))
    )


def _downstream_tls(node: NodeSettings) -> base_pb2.TransportSocket | None:
    if not node.tls_certificate:
        return None
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=tls_pb2.CommonTlsContext(
            tls_certificates=[
                common_pb2.TlsCertificate(
                    certificate_chain=base_pb2.DataSource(filename=node.tls_certificate),
                    private_key=base_pb2.DataSource(filename=node.tls_private_key),
                )
            ],
            alpn_protocols=["h2", "http/1.1"],
        )
    )
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))
