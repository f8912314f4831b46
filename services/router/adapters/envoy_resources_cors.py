"""CORS: which web pages may call, and read what is answered.

The filter stands first and is always there, without an effect of its own. Only the routes say who may call, so a change
closes no connection. It answers a preflight before anybody asks for a key, and adds its headers to every answer of the
filters behind it, refusals included: without them a browser hides why a call was refused.

It passes over a route without an upstream. So preflights get routes of their own, one for each origin, and so do the
paths where nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf import wrappers_pb2
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2
from spendgate_envoy.envoy.extensions.filters.http.cors.v3 import cors_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from spendgate_envoy.envoy.type.matcher.v3 import string_pb2

from services.kernel.envoy_contract import (
    ATTEMPTS_HEADER,
    BUDGET_REMAINING_HEADER,
    BUDGET_RESETS_HEADER,
    DOWNGRADED_HEADER,
    IGNORED_HEADER,
    MODEL_REQUESTED_HEADER,
    MODEL_SERVED_HEADER,
    OUTPUT_CAPPED_HEADER,
    POLICY_HEADER,
    PROVIDER_STATUS_HEADER,
    TRACE_ID_HEADER,
)
from services.kernel.names import host_pattern
from services.router.adapters.envoy_resources_wire import exact, http_filter, matching, pack

CORS_FILTER = "cors"
_METHODS = "GET, POST"
# An asterisk stands for all names but `authorization`. Calls carry no cookies, for which it would stand for itself.
_FROM_PAGES = "authorization, *"
_TO_PAGES = (
    MODEL_REQUESTED_HEADER,
    MODEL_SERVED_HEADER,
    DOWNGRADED_HEADER,
    ATTEMPTS_HEADER,
    POLICY_HEADER,
    BUDGET_REMAINING_HEADER,
    BUDGET_RESETS_HEADER,
    OUTPUT_CAPPED_HEADER,
    IGNORED_HEADER,
    PROVIDER_STATUS_HEADER,
    TRACE_ID_HEADER,
    "x-request-id",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "*",
)
"""Names for browsers that know no asterisk, and the asterisk for what providers add."""
_EXPOSED = ", ".join(_TO_PAGES)
_PREFLIGHT_HOLDS_S = "7200"


def cors_filter() -> hcm.HttpFilter:
    """Returns the filter, which must be the first."""
    return http_filter(CORS_FILTER, cors_pb2.Cors())


def allow_origins(host: route_components_pb2.VirtualHost, origins: Sequence[str]) -> None:
    """Lets web pages of these origins call the routes of a host. Without any, no page may.

    Credentials that a browser adds by itself are never allowed. A page gives its key, as any client does.
    """
    if not origins:
        return
    policy = cors_pb2.CorsPolicy(
        allow_origin_string_match=[_matcher(origin) for origin in origins],
        allow_methods=_METHODS,
        allow_headers=_FROM_PAGES,
        expose_headers=_EXPOSED,
        max_age=_PREFLIGHT_HOLDS_S,
        allow_credentials=wrappers_pb2.BoolValue(value=False),
    )
    host.typed_per_filter_config[CORS_FILTER].CopyFrom(pack(policy))


def match_preflight(origin: str) -> route_components_pb2.RouteMatch:
    """Matches the question of a browser that has a page of this origin, before a call."""
    match = match_page(origin)
    match.headers.extend(
        [
            route_components_pb2.HeaderMatcher(name=":method", string_match=exact("OPTIONS")),
            route_components_pb2.HeaderMatcher(name="access-control-request-method", present_match=True),
        ]
    )
    return match


def match_page(origin: str) -> route_components_pb2.RouteMatch:
    """Matches every request of pages of this origin."""
    of_origin = route_components_pb2.HeaderMatcher(name="origin", string_match=_matcher(origin))
    return route_components_pb2.RouteMatch(prefix="/", headers=[of_origin])


def page_headers() -> Mapping[str, str]:
    """Returns what the filter adds to answers, for those that it passes over and that go to an allowed page."""
    return {"access-control-allow-origin": "%REQ(ORIGIN)%", "access-control-expose-headers": _EXPOSED}


def _matcher(origin: str) -> string_pb2.StringMatcher:
    pattern = host_pattern(origin)
    return exact(origin) if pattern is None else matching(pattern)
