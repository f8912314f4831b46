"""Clusters: one for each provider and dialect of its clients."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

import certifi
from google.protobuf import wrappers_pb2
from spendgate_envoy.envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from spendgate_envoy.envoy.config.core.v3 import address_pb2, base_pb2, extension_pb2, protocol_pb2
from spendgate_envoy.envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from spendgate_envoy.envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from spendgate_envoy.envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from spendgate_envoy.envoy.extensions.filters.http.lua.v3 import lua_pb2
from spendgate_envoy.envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from spendgate_envoy.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from services.kernel.envoy_contract import CREDENTIAL_HEADERS, STREAM_BUFFER_BYTES
from services.router.adapters.envoy_resources_headers import with_headers
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.envoy_resources_wire import (
    exact,
    from_ads,
    http_filter,
    milliseconds,
    pack,
    remove_headers,
)
from services.router.domain.snapshot import ClusterSpec, NodeSettings

_CONNECT_TIMEOUT_MS = 2_000
# Providers close idle connections after a minute or more. Closing first avoids a race with them.
_IDLE_TIMEOUT_MS = 50_000
# Envoy's defaults (1 024 requests, 3 retries) fail calls at the very moment a primary dies.
_PARALLEL_MAX = 10_000
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Removed even if a script failed: an account's cookies, and headers that would send a client elsewhere with its prompt.
_NEVER_RETURNED = ("set-cookie", "www-authenticate", "location", "refresh")


def provider_cluster(
    spec: ClusterSpec, node: NodeSettings, scripts: Scripts, all_allowed: Collection[str] = ()
) -> cluster_pb2.Cluster:
    """Returns the cluster of one provider in one dialect. `all_allowed` are the headers that any provider adds."""
    cluster = _cluster(spec.name, spec.hostname, spec.port)
    cluster.per_connection_buffer_limit_bytes.value = STREAM_BUFFER_BYTES
    if spec.tls:
        cluster.transport_socket.CopyFrom(_tls(spec.hostname, node))
    # Lua that edits a streamed answer relies on HTTP/1.1, where the end of a stream is a chunk of its own.
    options = http_protocol_options_pb2.HttpProtocolOptions(
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(idle_timeout=milliseconds(_IDLE_TIMEOUT_MS)),
        explicit_http_config=http_protocol_options_pb2.HttpProtocolOptions.ExplicitHttpConfig(
            http_protocol_options=protocol_pb2.Http1ProtocolOptions()
        ),
        http_filters=_attempt_filters(spec, scripts, all_allowed),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    return cluster


def secret(name: str, value: str) -> secret_pb2.Secret:
    """Returns a credential. `value` is the complete value of its header."""
    return secret_pb2.Secret(
        name=name, generic_secret=secret_pb2.GenericSecret(secret=base_pb2.DataSource(inline_string=value))
    )


def _attempt_filters(spec: ClusterSpec, scripts: Scripts, all_allowed: Collection[str]) -> list[hcm.HttpFilter]:
    """Returns the filters of each attempt, in order.

    Attempts share the header map, so the first filter removes credentials before one is added. Otherwise one provider's
    credential would reach the next provider. The script comes last: it must know which credential to look for in the
    provider's answer.
    """
    strip = header_mutation_pb2.HeaderMutation(
        mutations=header_mutation_pb2.Mutations(
            request_mutations=remove_headers(CREDENTIAL_HEADERS), response_mutations=remove_headers(_NEVER_RETURNED)
        )
    )
    translation = (spec.dialect, spec.operation, spec.translated_to)
    script = scripts.translating[translation] if spec.translated_to else scripts.target
    source = with_headers(script, spec, all_allowed)
    target = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=source))
    filters = [http_filter("strip", strip)]
    if spec.secret_name:
        filters.append(http_filter("credential", _credential(spec)))
    # An answer passes `target` first.
    hold = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=scripts.hold))
    filters += [http_filter("hold", hold), http_filter("target", target)]
    return [*filters, http_filter("envoy.filters.http.upstream_codec", upstream_codec_pb2.UpstreamCodec())]


def _credential(spec: ClusterSpec) -> credential_injector_pb2.CredentialInjector:
    generic = generic_pb2.Generic(
        credential=secret_pb2.SdsSecretConfig(name=spec.secret_name, sds_config=from_ads()),
        header=spec.credential_header,
    )
    return credential_injector_pb2.CredentialInjector(
        overwrite=True,
        credential=extension_pb2.TypedExtensionConfig(
            name="envoy.http.injected_credentials.generic", typed_config=pack(generic)
        ),
    )


def _cluster(name: str, host: str, port: int) -> cluster_pb2.Cluster:
    address = address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port))
    endpoint = endpoint_components_pb2.LbEndpoint(endpoint=endpoint_components_pb2.Endpoint(address=address))
    parallel_max = wrappers_pb2.UInt32Value(value=_PARALLEL_MAX)
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=parallel_max,
        max_pending_requests=parallel_max,
        max_requests=parallel_max,
        max_retries=parallel_max,
    )
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC if _is_address(host) else cluster_pb2.Cluster.LOGICAL_DNS,
        dns_lookup_family=cluster_pb2.Cluster.V4_PREFERRED,
        connect_timeout=milliseconds(_CONNECT_TIMEOUT_MS),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=name, endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
    )


def _tls(host: str, node: NodeSettings) -> base_pb2.TransportSocket:
    kind = common_pb2.SubjectAltNameMatcher.IP_ADDRESS if _is_address(host) else common_pb2.SubjectAltNameMatcher.DNS
    context = tls_pb2.UpstreamTlsContext(
        sni="" if _is_address(host) else host,
        common_tls_context=tls_pb2.CommonTlsContext(
            validation_context=common_pb2.CertificateValidationContext(
                trusted_ca=base_pb2.DataSource(filename=node.provider_roots or certifi.where()),
                match_typed_subject_alt_names=[
                    common_pb2.SubjectAltNameMatcher(san_type=kind, matcher=exact(host)),
                ],
            ),
            alpn_protocols=["http/1.1"],
        ),
    )
    return base_pb2.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
