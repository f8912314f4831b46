"""Configurations of Envoy for the bench: a plain proxy, and the gateway's own chain without the call to quota."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.router.adapters.envoy_resources_gate import GATE_FILTER

Json = dict[str, Any]

_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_EXT_AUTHZ = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_SET_METADATA = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_ADMISSION = "envoy.filters.http.ext_authz"
_GRPC_LOG = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
NO_ADMISSION = "no-admission"
"""The cluster that the gateway's routes name for a request without an admission."""
_UNASKED_BYTES_MAX = re.compile(r"\bBODY_BYTES_MAX = (\d+)")
"""In the script that says which bodies come before quota is asked about their key."""
_DUMP = "type.googleapis.com/envoy.admin.v3."


@dataclass(frozen=True, slots=True)
class QuotasAnswers:
    """Quota's metadata for one kind of request: its answer about the key, and its answer about the whole call."""

    gate: Json
    admission: Json


def plain_proxy(port: int, upstream_port: int, script: str | None = None) -> Json:
    """Envoy as a reverse proxy that does nothing else, the yardstick; or nothing but run one Lua script."""
    lua = {"@type": _LUA, "default_source_code": {"inline_string": script}}
    manager = {
        "@type": _HCM,
        "stat_prefix": "raw",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            *([{"name": "script", "typed_config": lua}] if script else []),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}},
        ],
    }
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream_port)}}]}],
        },
    }
    return _static(listeners=[_listener("raw", port, manager)], clusters=[cluster])


def chain_without_quota(dump: Json, listener_port: int, answers: dict[int, QuotasAnswers], log_dir: Path) -> Json:
    """The configuration of a running gateway with the calls to quota replaced by constant answers.

    `dump` is that gateway's `/config_dump`, `listener_port` its data port. One listener is made for each port of
    `answers`, which maps it to what quota said to such a request. Left out besides is the log of attempts over gRPC,
    since its receiver is the router.
    """
    listeners = _dumped(dump, "ListenersConfigDump", "dynamic_listeners", "active_state", "listener")
    data = next(listener for listener in listeners if _port(listener) == listener_port)
    routes = {config["name"]: config for config in _dumped(dump, "RoutesConfigDump", "dynamic_route_configs")}
    clusters = _dumped(dump, "ClustersConfigDump", "static_clusters") + _dumped(
        dump, "ClustersConfigDump", "dynamic_active_clusters"
    )
    made = []
    for port, answer in answers.items():
        listener = copy.deepcopy(data)
        listener["name"] = f"chain-{port}"
        listener["address"]["socket_address"]["port_value"] = port
        for chain in listener["filter_chains"]:
            for network_filter in chain["filters"]:
                manager = network_filter["typed_config"]
                manager["http_filters"] = [
                    _constant(item, answer) if _type(item) == _EXT_AUTHZ else item for item in manager["http_filters"]
                ]
                if "rds" in manager:
                    route_config = routes[manager.pop("rds")["route_config_name"]]
                    manager["route_config"] = _fixed(route_config, answer.admission, _unasked_bytes_max(manager))
        made.append(listener)
    secrets: set[str] = set()
    whole: Json = _without_ads(_static(listeners=made, clusters=clusters), secrets)
    whole["static_resources"]["secrets"] = [
        {"name": name, "generic_secret": {"secret": {"inline_string": "Bearer bench"}}} for name in sorted(secrets)
    ]
    relogged: Json = _relogged(whole, log_dir)
    return relogged


def is_chain_complete(bootstrap: Json) -> bool:
    """Whether the parts that the bench claims to measure are in it."""
    text = json.dumps(bootstrap)
    return all(part in text for part in ("set_metadata", "spendgate.usage", "access_loggers.file", "upstream_codec"))


def _constant(question: Json, answer: QuotasAnswers) -> Json:
    """The filter in place of a question to quota. It keeps the name, by which routes switch it off."""
    metadata = answer.gate if question["name"] == GATE_FILTER else answer.admission
    value = {"metadata_namespace": _ADMISSION, "value": metadata, "allow_overwrite": True}
    return {"name": question["name"], "typed_config": {"@type": _SET_METADATA, "metadata": [value]}}


def _unasked_bytes_max(manager: Json) -> int:
    scripts = json.dumps([item for item in manager["http_filters"] if _type(item) == _LUA])
    (found,) = _UNASKED_BYTES_MAX.findall(scripts)
    return int(found)


def _fixed(routes: Json, admission: Json, unasked_bytes_max: int) -> Json:
    """The routes as they are chosen once quota has answered.

    A route is chosen before the constant answers are there, and only quota's real ones make Envoy choose again. So the
    first cluster of the admission is the default, and the routes for large bodies, which quota's answer to the gate
    opens, are opened by what makes the gate ask.
    """
    first = admission["priority_groups"][0]["clusters"][0]["cluster_name"]
    fixed: Json = json.loads(json.dumps(routes).replace(json.dumps(NO_ADMISSION), json.dumps(first)))
    for host in fixed["virtual_hosts"]:
        for route in host["routes"]:
            # Settings of the questions, which nobody asks here.
            route.get("typed_per_filter_config", {}).pop(GATE_FILTER, None)
            if route["match"].pop("dynamic_metadata", None):
                sizes = {"start": str(unasked_bytes_max + 1), "end": str(1 << 40)}
                route["match"].setdefault("headers", []).append({"name": "content-length", "range_match": sizes})
    return fixed


def _without_ads(node: Any, secrets: set[str]) -> Any:
    """Replaces secrets that come over ADS by static ones, and drops the gRPC log; collects the secrets' names."""
    if isinstance(node, list):
        return [_without_ads(item, secrets) for item in node if _type(item) != _GRPC_LOG]
    if not isinstance(node, dict):
        return node
    if "sds_config" in node:
        secrets.add(node["name"])
        return {"name": node["name"]}
    return {key: _without_ads(value, secrets) for key, value in node.items()}


def _relogged(node: Any, log_dir: Path) -> Any:
    """Sends file logs to another folder, so that no ledger books them."""
    if isinstance(node, list):
        return [_relogged(item, log_dir) for item in node]
    if isinstance(node, dict):
        return {
            key: str(log_dir / Path(value).name)
            if key == "path" and isinstance(value, str) and value.endswith(".jsonl")
            else _relogged(value, log_dir)
            for key, value in node.items()
        }
    return node


def _dumped(dump: Json, kind: str, section: str, *path: str) -> list[Json]:
    found: list[Json] = []
    for config in dump["configs"]:
        if config["@type"] == _DUMP + kind:
            for item in config.get(section, []):
                entry = item
                for key in path or (_payload(item),):
                    entry = entry[key]
                found.append({key: value for key, value in entry.items() if key != "@type"})
    return found


def _payload(item: Json) -> str:
    return next(key for key in ("cluster", "route_config", "listener") if key in item)


def _type(item: Any) -> str | None:
    return item.get("typed_config", {}).get("@type") if isinstance(item, dict) else None


def _port(listener: Json) -> int:
    return int(listener["address"]["socket_address"]["port_value"])


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(name: str, port: int, manager: Json) -> Json:
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


def _static(*, listeners: list[Json], clusters: list[Json]) -> Json:
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}
