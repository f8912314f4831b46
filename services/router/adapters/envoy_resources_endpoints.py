"""The table of endpoints (`services/kernel/endpoint.py`) in Envoy's terms: routes and filters of requests."""

from __future__ import annotations

import re
from collections.abc import Mapping

from spendgate_envoy.envoy.config.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2

from services.kernel.dialect import Dialect
from services.kernel.endpoint import (
    DEPLOYMENTS,
    DIALECT_HEADERS,
    ENDPOINTS,
    MODEL,
    MODELS_PATHS,
    ROOTS,
    SHARED_PATHS,
    VERB,
    Endpoint,
    Root,
)
from services.router.adapters.envoy_resources_access_log import all_of, any_of
from services.router.adapters.envoy_resources_wire import matching, regex


def call_match(endpoint: Endpoint) -> route_components_pb2.RouteMatch:
    """Matches requests for the paths where such calls are posted, whatever their method."""
    match endpoint.paths:
        case (path,) if MODEL not in path:
            return route_components_pb2.RouteMatch(path=path)
        case paths:
            # Envoy takes no large expression, so the text after the model is written once.
            before, behind = zip(*(path.split(MODEL) for path in paths), strict=True)
            [rest] = set(behind)
            verbs = re.escape(rest).replace(re.escape(VERB), f"({'|'.join(endpoint.verbs)})")
            return route_components_pb2.RouteMatch(safe_regex=regex(f"({'|'.join(map(re.escape, before))}).+{verbs}"))


def azure_matches() -> Mapping[str, route_components_pb2.RouteMatch]:
    """Returns what matches the paths of clients that are written for Azure, by names for routes."""
    rows = [(row, path) for row in ENDPOINTS for path in row.azure_paths]
    exact = {path.removeprefix("/openai/").replace("/", "-"): path for _, path in rows if MODEL not in path}
    behind = "|".join(re.escape(path.partition(MODEL)[2]) for _, path in rows if MODEL in path)
    of_deployment = route_components_pb2.RouteMatch(safe_regex=regex(f"{re.escape(DEPLOYMENTS)}.+({behind})"))
    return {
        "azure-deployment": of_deployment,
        **{f"azure-{name}": route_components_pb2.RouteMatch(path=path) for name, path in exact.items()},
    }


def models_match() -> route_components_pb2.RouteMatch:
    """Matches requests for the list of models, or for one of them."""
    return route_components_pb2.RouteMatch(safe_regex=regex(f"({'|'.join(map(re.escape, MODELS_PATHS))})(/.+)?"))


def is_asked_in(dialect: Dialect) -> accesslog_pb2.AccessLogFilter:
    """Passes requests whose path and headers show this dialect, as `dialect_of` reads them.

    No filter exists for the first dialect, in which all others are answered. The filters must be tried in the order of
    `DIALECT_HEADERS`, because a request may have headers of two dialects.
    """
    patterns = [_root_pattern(root) for root in ROOTS if root.dialect is dialect]
    of_path = [_header(":path", pattern) for pattern in patterns]
    shared = any_of(*(_header(":path", rf"{re.escape(path)}(/[^?:]*)?(\?.*)?") for path in SHARED_PATHS))
    of_headers = [all_of(shared, _header(name, ".*")) for name, shown in DIALECT_HEADERS.items() if shown is dialect]
    return any_of(*of_path, *of_headers)


def _root_pattern(root: Root) -> str:
    return re.escape(root.path) + (r"/[^?]*:.*" if root.has_verb else r"([/?].*)?")


def _header(name: str, pattern: str) -> accesslog_pb2.AccessLogFilter:
    matcher = route_components_pb2.HeaderMatcher(name=name, string_match=matching(pattern))
    return accesslog_pb2.AccessLogFilter(header_filter=accesslog_pb2.HeaderFilter(header=matcher))
