"""Routes of the data listener, by exact endpoint. Every other path is a 404 without any Check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf import any_pb2, wrappers_pb2
from spendgate_envoy.envoy.config.core.v3 import base_pb2, extension_pb2
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2, route_pb2
from spendgate_envoy.envoy.extensions.router.cluster_specifiers.priority_group.v3 import priority_group_pb2

from services.kernel.endpoint import BUDGET_PATH, ENDPOINTS, endpoint_of
from services.kernel.envoy_contract import (
    ADMISSION_NAMESPACE,
    ATTEMPTS_HEADER,
    CREDENTIAL_HEADERS,
)
from services.router.adapters.envoy_resources_cors import allow_origins, match_page, match_preflight, page_headers
from services.router.adapters.envoy_resources_endpoints import azure_matches, call_match, models_match
from services.router.adapters.envoy_resources_gate import (
    GATE_FILTER,
    SMALL_BODIES_FILTER,
    answer_is_held,
    body_may_come,
    gate_on_endpoint,
    gate_on_large_bodies,
)
from services.router.adapters.envoy_resources_wire import (
    exact,
    header_option,
    milliseconds,
    pack,
)
from services.router.domain.snapshot import NodeSettings
from services.router.domain.translation import TRANSLATIONS

DATA_ROUTES = "data"
METER_FILTER = "meter"
REQUEST_INFO_FILTER = "request_info"
ADMISSION_FILTER = "admission"
_OF_CALLS = (METER_FILTER, SMALL_BODIES_FILTER, GATE_FILTER)
"""Filters that have no work on routes without calls."""
_NOWHERE = "no-admission"
"""A cluster that never exists. A request without a chain from quota goes there and gets a 503."""

_RETRY_ON = "5xx,reset,connect-failure,refused-stream,retriable-status-codes"
# Another target may well accept the same request: it has another credential, model and quota.
_RETRIABLE_STATUSES = (401, 403, 404, 408, 409, 429)
_BACK_OFF_MS = 1
_UNASKED_BODY_BYTES = 1 << 16
REQUEST_ID = {"request-id": "%REQ(X-REQUEST-ID)%"}
"""On every answer, because Anthropic's SDK reads it. Envoy itself adds `x-request-id`."""


def data_routes(node: NodeSettings, cors_origins: Sequence[str] = ()) -> route_pb2.RouteConfiguration:
    """Returns all routes of the data listener. They name no provider, so of a configuration only CORS changes them."""
    of_azure = azure_matches()
    calls = [*((endpoint.name, call_match(endpoint)) for endpoint in ENDPOINTS), *of_azure.items()]
    translated = {row.name for one in TRANSLATIONS if (row := endpoint_of(one.client, one.operation))}
    translated |= of_azure.keys()
    host = route_components_pb2.VirtualHost(
        name="data",
        domains=["*"],
        # `target.lua` picks the attempt's target by this count.
        include_request_attempt_count=True,
        request_headers_to_remove=[*CREDENTIAL_HEADERS, "accept-encoding"],
        routes=[
            # Envoy tries them in order, and no two endpoints match one path. So a chat is found at once.
            *(
                make(name, match, node)
                for name, match in calls
                for make in (_endpoint_for_large_bodies, _endpoint_for_translations, _endpoint)
                if name in translated or make is not _endpoint_for_translations
            ),
            *(_preflight(at, origin) for at, origin in enumerate(cors_origins)),
            _answered_by_quota("models", models_match()),
            _answered_by_quota("budget", route_components_pb2.RouteMatch(path=BUDGET_PATH)),
            *(_refusal(f"{name}-method", match, 405) for name, match in calls),
            *(_nothing_for_page(at, origin) for at, origin in enumerate(cors_origins)),
            _refusal("nothing", route_components_pb2.RouteMatch(prefix="/"), 404),
        ],
    )
    allow_origins(host, cors_origins)
    return route_pb2.RouteConfiguration(name=DATA_ROUTES, virtual_hosts=[host])


def _endpoint(name: str, endpoint: route_components_pb2.RouteMatch, node: NodeSettings) -> route_components_pb2.Route:
    route = route_components_pb2.Route(
        name=name,
        match=_with_method(endpoint, "POST"),
        route=route_components_pb2.RouteAction(
            inline_cluster_specifier_plugin=_chain(),
            timeout=milliseconds(node.max_stream_seconds * 1000),
            retry_policy=route_components_pb2.RetryPolicy(
                retry_on=_RETRY_ON,
                retriable_status_codes=_RETRIABLE_STATUSES,
                # Quota gives the length of the chain in a header. Without it nothing is retried.
                num_retries=wrappers_pb2.UInt32Value(value=0),
                refresh_cluster_on_retry=True,
                retry_back_off=route_components_pb2.RetryPolicy.RetryBackOff(
                    base_interval=milliseconds(_BACK_OFF_MS), max_interval=milliseconds(2 * _BACK_OFF_MS)
                ),
            ),
        ),
        # A small body may come unasked. Of a larger one, no more than this is read before its key is checked.
        request_body_buffer_limit=wrappers_pb2.UInt64Value(value=_UNASKED_BODY_BYTES),
        response_headers_to_add=_answer_headers(),
    )
    _configure(route, gate_on_endpoint())
    return route


def _endpoint_for_large_bodies(
    name: str, endpoint: route_components_pb2.RouteMatch, node: NodeSettings
) -> route_components_pb2.Route:
    """Returns the same route for keys that quota accepted: a body of any size may come."""
    route = _endpoint(name, endpoint, node)
    route.name = f"{name}-large"
    route.match.dynamic_metadata.append(body_may_come())
    # The whole body waits for quota, and for the next attempt. The listener's own bound applies to answers.
    route.request_body_buffer_limit.value = node.max_body_bytes
    _configure(route, gate_on_large_bodies())
    return route


def _endpoint_for_translations(
    name: str, endpoint: route_components_pb2.RouteMatch, node: NodeSettings
) -> route_components_pb2.Route:
    """Returns the same route for calls that quota sends through a translator.

    The bound of a route holds for answers as well, and a whole answer is held until it is translated.
    """
    route = _endpoint_for_large_bodies(name, endpoint, node)
    route.name = f"{name}-translated"
    del route.match.dynamic_metadata[:]
    route.match.dynamic_metadata.append(answer_is_held())
    return route


def _answered_by_quota(name: str, match: route_components_pb2.RouteMatch) -> route_components_pb2.Route:
    """Returns the route of a GET that quota answers itself. If quota ever lets one pass, it leads nowhere."""
    route = route_components_pb2.Route(
        name=name,
        match=_with_method(match, "GET"),
        route=route_components_pb2.RouteAction(cluster=_NOWHERE),
    )
    _configure(route, dict.fromkeys(_OF_CALLS, _disabled()))
    return route


def _refusal(name: str, match: route_components_pb2.RouteMatch, status: int) -> route_components_pb2.Route:
    """Returns a route that refuses without any Check. `local_replies` writes the body."""
    route = route_components_pb2.Route(
        name=name, match=match, direct_response=route_components_pb2.DirectResponseAction(status=status)
    )
    _configure(route, dict.fromkeys((*_OF_CALLS, REQUEST_INFO_FILTER, ADMISSION_FILTER), _disabled()))
    return route


def _preflight(at: int, origin: str) -> route_components_pb2.Route:
    """Returns the route of a preflight, which the CORS filter answers. If it ever lets one pass, it leads nowhere."""
    route = route_components_pb2.Route(
        name=f"preflight-{at}", match=match_preflight(origin), route=route_components_pb2.RouteAction(cluster=_NOWHERE)
    )
    _configure(route, dict.fromkeys((*_OF_CALLS, REQUEST_INFO_FILTER, ADMISSION_FILTER), _disabled()))
    return route


def _nothing_for_page(at: int, origin: str) -> route_components_pb2.Route:
    route = _refusal(f"nothing-for-page-{at}", match_page(origin), 404)
    route.response_headers_to_add.extend(header_option(name, value) for name, value in page_headers().items())
    return route


def _chain() -> route_components_pb2.ClusterSpecifierPlugin:
    """Takes the clusters of the attempts, in order, from quota's answer."""
    nowhere = priority_group_pb2.ClusterWeight(cluster_name=_NOWHERE, weight=wrappers_pb2.UInt32Value(value=1))
    specifier = priority_group_pb2.PriorityGroupClusterSpecifier(
        override_metadata_namespace=ADMISSION_NAMESPACE,
        priority_groups=[priority_group_pb2.PriorityGroup(name="none", clusters=[nowhere])],
    )
    return route_components_pb2.ClusterSpecifierPlugin(
        extension=extension_pb2.TypedExtensionConfig(name="chain", typed_config=pack(specifier))
    )


def _answer_headers() -> list[base_pb2.HeaderValueOption]:
    """Returns the answer headers that only Envoy knows.

    Quota's answer brings the model asked for and what is left, and `meter.lua` the target that served.
    """
    headers = {ATTEMPTS_HEADER: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", **REQUEST_ID}
    return [header_option(name, value) for name, value in headers.items()]


def _with_method(match: route_components_pb2.RouteMatch, method: str) -> route_components_pb2.RouteMatch:
    narrowed = route_components_pb2.RouteMatch()
    narrowed.CopyFrom(match)
    narrowed.headers.append(route_components_pb2.HeaderMatcher(name=":method", string_match=exact(method)))
    return narrowed


def _configure(route: route_components_pb2.Route, filters: Mapping[str, any_pb2.Any]) -> None:
    for name, config in filters.items():
        route.typed_per_filter_config[name].CopyFrom(config)


def _disabled() -> any_pb2.Any:
    return pack(route_components_pb2.FilterConfig(disabled=True))
