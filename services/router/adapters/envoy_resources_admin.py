"""The admin listener: the three admin APIs over gRPC and REST, behind the admin token that quota checks.

Internal traffic between services (plans, prices, reservations, ADS) has no route here.
"""

from __future__ import annotations

from spendgate_envoy.envoy.config.listener.v3 import listener_pb2
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2, route_pb2
from spendgate_envoy.envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from spendgate_envoy.envoy.extensions.filters.http.grpc_json_transcoder.v3 import transcoder_pb2
from spendgate_envoy.envoy.extensions.filters.http.router.v3 import router_pb2

from services.kernel.envoy_contract import ADMIN_PLANE, PLANE_EXTENSION
from services.router.adapters.envoy_resources_listeners import check, connection_manager, listener
from services.router.adapters.envoy_resources_routes import ADMISSION_FILTER
from services.router.adapters.envoy_resources_wire import http_filter, milliseconds, pack
from services.router.domain.snapshot import NodeSettings

ADMIN_LISTENER = "admin"
ADMIN_ROUTES = "admin"
SERVICES = {
    "spendgate.quota.v1.QuotaService": "quota_admin",
    "spendgate.quota.v1.AdminService": "quota_admin",
    "spendgate.quota.v1.OverrideService": "quota_admin",
    "spendgate.quota.v1.DoubtService": "quota_admin",
    "spendgate.quota.v1.SimulationService": "quota_admin",
    "spendgate.router.v1.RouterService": "router",
    "spendgate.ledger.v1.LedgerService": "ledger",
}
TOOLS = {
    "grpc.health.v1.Health": "quota_admin",
    "grpc.reflection.v1.ServerReflection": "quota_admin",
    "grpc.reflection.v1alpha.ServerReflection": "quota_admin",
}


def admin_listener(node: NodeSettings, descriptors: bytes) -> listener_pb2.Listener:
    """Returns the listener for administration. `descriptors` is the FileDescriptorSet of our services."""
    manager = connection_manager(node, "admin", ADMIN_ROUTES)
    # A simulation uploads calls for as long as it lasts. Without an admin token it is refused by its head alone.
    manager.request_timeout.CopyFrom(milliseconds(node.max_stream_seconds * 1000))
    transcoder = transcoder_pb2.GrpcJsonTranscoder(
        proto_descriptor_bin=descriptors,
        services=list(SERVICES),
        convert_grpc_status=True,
        print_options=transcoder_pb2.GrpcJsonTranscoder.PrintOptions(always_print_primitive_fields=True),
        request_validation_options=transcoder_pb2.GrpcJsonTranscoder.RequestValidationOptions(
            reject_unknown_query_parameters=True
        ),
    )
    manager.http_filters.extend(
        [
            http_filter(ADMISSION_FILTER, check(node)),
            http_filter("envoy.filters.http.grpc_json_transcoder", transcoder),
            http_filter("envoy.filters.http.router", router_pb2.Router(suppress_envoy_headers=True)),
        ]
    )
    return listener(ADMIN_LISTENER, node.admin_host, node.admin_port, manager, node)


def admin_routes(node: NodeSettings) -> route_pb2.RouteConfiguration:
    """Returns a route for each public gRPC service. REST calls become gRPC calls after quota has let them pass.

    The last route matches everything else, and not only to answer 404. Envoy skips the Check of a request without a
    route, and a REST call has no route before it is transcoded.
    """
    nothing = route_components_pb2.Route(
        name="nothing",
        match=route_components_pb2.RouteMatch(prefix="/"),
        direct_response=route_components_pb2.DirectResponseAction(status=404),
    )
    host = route_components_pb2.VirtualHost(
        name="admin",
        domains=["*"],
        routes=[*(_service(name, cluster, node) for name, cluster in (SERVICES | TOOLS).items()), nothing],
    )
    plane = ext_authz_pb2.CheckSettings(context_extensions={PLANE_EXTENSION: ADMIN_PLANE})
    context = ext_authz_pb2.ExtAuthzPerRoute(check_settings=plane)
    host.typed_per_filter_config[ADMISSION_FILTER].CopyFrom(pack(context))
    return route_pb2.RouteConfiguration(name=ADMIN_ROUTES, virtual_hosts=[host])


def _service(name: str, cluster: str, node: NodeSettings) -> route_components_pb2.Route:
    return route_components_pb2.Route(
        name=name,
        match=route_components_pb2.RouteMatch(prefix=f"/{name}/"),
        route=route_components_pb2.RouteAction(
            cluster=cluster,
            # A tail of calls streams for as long as somebody watches. The listener bounds it.
            timeout=milliseconds(node.max_stream_seconds * 1000),
        ),
    )
