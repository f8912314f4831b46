from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message
from lupa.luajit21 import LuaRuntime
from spendgate_envoy.envoy.config.cluster.v3 import cluster_pb2
from spendgate_envoy.envoy.config.listener.v3 import listener_pb2
from spendgate_envoy.envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from spendgate_envoy.envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from spendgate_envoy.envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from spendgate_envoy.envoy.extensions.filters.http.lua.v3 import lua_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from spendgate_envoy.envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from services.kernel.dialect import Dialect
from services.kernel.endpoint import ENDPOINTS
from services.kernel.envoy_contract import CREDENTIAL_HEADERS
from services.router.adapters.envoy_resources import EnvoyResources, Scripts, build_resources
from services.router.adapters.envoy_resources_endpoints import azure_matches
from services.router.domain.snapshot import ClusterSpec, NodeSettings, Snapshot

SCRIPTS = Scripts.load(Path(__file__).resolve().parents[4] / "envoy" / "lua")
NODE = NodeSettings(
    epoch="local-1795464000000",
    data_host="127.0.0.1",
    data_port=10_000,
    admin_host="127.0.0.1",
    admin_port=10_001,
    spool_dir="/data/spool",
    log_dir="/data/logs",
)
OPENAI = ClusterSpec("openai.openai", Dialect.OPENAI, "api.openai.com", 443, True, "authorization", "openai")
LAB = ClusterSpec("lab.openai", Dialect.OPENAI, "127.0.0.1", 8081, False, "authorization", "")
_M = TypeVar("_M", bound=Message)


def build(*clusters: ClusterSpec, node: NodeSettings = NODE, **secrets: str) -> EnvoyResources:
    values = {spec.secret_name: "Bearer sk-1" for spec in clusters if spec.secret_name} | secrets
    return build_resources(Snapshot("1", clusters), node, values, SCRIPTS, b"descriptors")


def unpack(packed: Any, kind: type[_M]) -> _M:
    message = kind()
    assert packed.Unpack(message), packed.type_url
    return message


def manager(listener: listener_pb2.Listener) -> hcm.HttpConnectionManager:
    return unpack(listener.filter_chains[0].filters[0].typed_config, hcm.HttpConnectionManager)


def attempt_filters(cluster: cluster_pb2.Cluster) -> dict[str, Any]:
    (options,) = cluster.typed_extension_protocol_options.values()
    protocol = unpack(options, http_protocol_options_pb2.HttpProtocolOptions)
    assert protocol.explicit_http_config.HasField("http_protocol_options")
    return {each.name: each.typed_config for each in protocol.http_filters}


def test_listeners_and_routes_stay_the_same_bytes_when_providers_and_secrets_change() -> None:
    one, other = build(OPENAI), build(LAB, OPENAI, openai="Bearer sk-2")
    for kind in ("listeners", "routes"):
        before, after = getattr(one, kind), getattr(other, kind)
        assert list(before) == list(after) == ["data", "admin"]
        for name in before:
            assert before[name].SerializeToString(deterministic=True) == after[name].SerializeToString(
                deterministic=True
            )


def test_a_secret_appears_among_the_secrets_and_nowhere_else() -> None:
    resources = build(OPENAI, openai="Bearer sk-very-secret")
    assert "sk-very-secret" in str(resources.secrets["openai"])
    for kind in (resources.clusters, resources.listeners, resources.routes):
        assert "sk-very-secret" not in str(kind)


def test_a_secret_that_is_missing_is_an_error_and_not_a_cluster_that_never_warms() -> None:
    with pytest.raises(KeyError):
        build_resources(Snapshot("1", (OPENAI,)), NODE, {}, SCRIPTS, b"")


def test_every_cluster_states_its_limits() -> None:
    for cluster in build(OPENAI, LAB).clusters.values():
        (limits,) = cluster.circuit_breakers.thresholds
        for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries"):
            assert getattr(limits, name).value >= 1000


def test_a_name_is_resolved_and_an_address_is_not() -> None:
    clusters = build(OPENAI, LAB).clusters
    assert clusters["openai.openai"].type == cluster_pb2.Cluster.LOGICAL_DNS
    assert clusters["lab.openai"].type == cluster_pb2.Cluster.STATIC


def test_a_provider_over_tls_must_prove_its_name() -> None:
    resources = build(OPENAI, node=replace(NODE, provider_roots="/roots.pem"))
    context = unpack(resources.clusters["openai.openai"].transport_socket.typed_config, tls_pb2.UpstreamTlsContext)
    assert context.sni == "api.openai.com"
    validation = context.common_tls_context.validation_context
    assert validation.trusted_ca.filename == "/roots.pem"
    assert [each.matcher.exact for each in validation.match_typed_subject_alt_names] == ["api.openai.com"]


def test_credentials_come_off_and_one_goes_on_before_any_script() -> None:
    filters = attempt_filters(build(OPENAI).clusters["openai.openai"])
    assert list(filters) == ["strip", "credential", "hold", "target", "envoy.filters.http.upstream_codec"]
    strip = unpack(filters["strip"], header_mutation_pb2.HeaderMutation)
    assert set(CREDENTIAL_HEADERS) <= {each.remove for each in strip.mutations.request_mutations}
    injector = unpack(filters["credential"], credential_injector_pb2.CredentialInjector)
    assert injector.overwrite
    assert not injector.allow_request_without_credential
    generic = unpack(injector.credential.typed_config, generic_pb2.Generic)
    assert (generic.header, generic.credential.name) == ("authorization", "openai")


def test_a_provider_without_a_credential_gets_none() -> None:
    filters = attempt_filters(build(LAB).clusters["lab.openai"])
    assert "credential" not in filters
    provider = headers_of(filters)
    assert provider.credential_header is None
    assert not set(provider.to_provider) & {"authorization", "x-api-key", "x-goog-api-key"}


def test_headers_that_a_provider_adds_pass_there_alone() -> None:
    adding = replace(LAB, allowed_headers=("user-agent", "x-title"))
    clusters = build(OPENAI, adding).clusters
    lab, openai = (headers_of(attempt_filters(clusters[name])) for name in ("lab.openai", "openai.openai"))
    for side in (lab.to_provider, lab.to_client):
        assert {"x-title", "user-agent"} <= set(side)
    assert (list(lab.added.values()), list(lab.others)) == (["user-agent", "x-title"], [])
    # Where the provider allows the header, the client's own replaces the gateway's.
    assert set(openai.set) - set(lab.set) == {"user-agent"}
    assert not {"x-title"} & {*openai.to_provider, *openai.to_client}
    assert (list(openai.added.values()), set(openai.others)) == ([], {"user-agent", "x-title"})


def headers_of(filters: dict[str, Any]) -> Any:
    """The table in front of a cluster's script, as Lua reads it."""
    script = unpack(filters["target"], lua_pb2.Lua).default_source_code.inline_string
    return LuaRuntime().execute(f"{script}\nreturn PROVIDER")


def test_the_filters_of_the_data_listener_are_in_the_documented_order() -> None:
    data = manager(build().listeners["data"])
    names = [each.name for each in data.http_filters]
    assert names == [
        "cors",
        "query_key",
        "meter",
        "small_bodies",
        "gate",
        "large_bodies",
        "request_info",
        "admission",
        "envoy.filters.http.router",
    ]
    assert not data.HasField("tracing")
    assert data.always_set_request_id_in_response


def test_tls_is_offered_when_there_is_a_certificate() -> None:
    plain, secured = build(), build(node=replace(NODE, tls_certificate="/c.pem", tls_private_key="/k.pem"))
    assert not plain.listeners["data"].filter_chains[0].HasField("transport_socket")
    for listener in secured.listeners.values():
        socket = unpack(listener.filter_chains[0].transport_socket.typed_config, tls_pb2.DownstreamTlsContext)
        assert socket.common_tls_context.tls_certificates[0].private_key.filename == "/k.pem"


def test_every_route_of_both_listeners_has_an_end() -> None:
    """Envoy skips the Check of a request that matches no route, so every request must match one."""
    for routes in build().routes.values():
        for host in routes.virtual_hosts:
            assert list(host.domains) == ["*"]
            assert host.routes[-1].match.prefix == "/"


def test_only_refusals_are_routed_without_asking_quota() -> None:
    for route in build().routes["data"].virtual_hosts[0].routes:
        if "admission" in route.typed_per_filter_config:
            assert route.direct_response.status in {404, 405}


def test_a_large_body_is_taken_only_where_quota_let_it_come() -> None:
    routes = build().routes["data"].virtual_hosts[0].routes
    calls = [route for route in routes if route.route.HasField("inline_cluster_specifier_plugin")]
    asked = {route.name: [matcher.path[0].key for matcher in route.match.dynamic_metadata] for route in calls}
    names = [endpoint.name for endpoint in ENDPOINTS] + [*azure_matches()]
    for name in names:
        assert asked[f"{name}-large"] == ["holder"]
        assert asked[name] == []
    # These take no body before quota has admitted the whole call.
    translated = {name for name, keys in asked.items() if keys == ["translated"]}
    clients = ("openai", "anthropic", "openai-responses", *azure_matches())
    assert translated == {f"{name}-translated" for name in clients}
    assert len(calls) == 2 * len(names) + len(translated)
    for route in calls:
        assert route.request_body_buffer_limit.value == (NODE.max_body_bytes if asked[route.name] else 65_536)
        assert "gate" in route.typed_per_filter_config


def test_quota_is_asked_about_every_request_that_is_not_excused() -> None:
    (gate,) = (each for each in manager(build().listeners["data"]).http_filters if each.name == "gate")
    question = unpack(gate.typed_config, ext_authz_pb2.ExtAuthz)
    assert question.filter_enabled_metadata.invert
    assert question.failure_mode_allow is False


def test_no_route_names_a_provider() -> None:
    assert "openai.openai" not in str(build(OPENAI).routes)


def test_internal_services_have_no_route() -> None:
    routed = str(build().routes["admin"])
    ours = ("ReservationService", "RecipientService", "RoutePlanService", "PriceBookService", "SwitchService")
    for service in (*ours, "AggregatedDiscovery"):
        assert service not in routed


@pytest.mark.parametrize("script", ["small_bodies", "large_bodies", "request_info", "target", "meter"])
def test_a_script_is_one_source_that_compiles_and_loads_no_file(script: str) -> None:
    runtime = LuaRuntime(encoding="latin-1")
    runtime.execute("package.path, package.cpath = '', ''")
    runtime.execute(getattr(SCRIPTS, script))
    assert runtime.globals()["envoy_on_response" if script == "meter" else "envoy_on_request"]


def test_an_administrator_may_send_for_as_long_as_a_stream_lasts_and_a_client_must_finish_its_body() -> None:
    node = replace(NODE, body_timeout_ms=120_000, max_stream_seconds=900)
    listeners = build(node=node).listeners

    assert manager(listeners["data"]).request_timeout.ToSeconds() == 120
    assert manager(listeners["admin"]).request_timeout.ToSeconds() == 900


def test_each_quota_is_an_endpoint_of_its_own() -> None:
    (endpoints,) = build(node=replace(NODE, quotas=3)).clusters["quota"].load_assignment.endpoints
    paths = [each.endpoint.address.pipe.path for each in endpoints.lb_endpoints]
    assert paths == ["quota.sock", "quota-2.sock", "quota-3.sock"]


def test_quotas_are_watched_where_another_can_answer_instead() -> None:
    alone, several = (build(node=replace(NODE, quotas=quotas)).clusters["quota"] for quotas in (1, 2))
    assert not alone.health_checks
    assert not alone.HasField("outlier_detection")
    (check,) = several.health_checks
    assert check.HasField("grpc_health_check")
    assert several.common_lb_config.healthy_panic_threshold.value == 0
    assert several.outlier_detection.consecutive_local_origin_failure.value == 1
