"""Turns a snapshot into the resources that Envoy takes over ADS.

`envoy/README.md` explains the chain of filters. The parts: `_listeners` (bounds and filters), `_routes` (endpoints),
`_clusters` (providers and the filters of each attempt), `_quota` (who answers Checks), `_access_log` (the spool),
`_local_replies` (Envoy's own errors), `_cors` (web pages), `_traces`, `_admin` (the admin listener), `_scripts` (Lua).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spendgate_envoy.envoy.config.cluster.v3 import cluster_pb2
from spendgate_envoy.envoy.config.listener.v3 import listener_pb2
from spendgate_envoy.envoy.config.route.v3 import route_pb2
from spendgate_envoy.envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from services.router.adapters.envoy_resources_admin import admin_listener, admin_routes
from services.router.adapters.envoy_resources_clusters import provider_cluster, secret
from services.router.adapters.envoy_resources_listeners import data_listener
from services.router.adapters.envoy_resources_quota import quota_cluster
from services.router.adapters.envoy_resources_routes import data_routes
from services.router.adapters.envoy_resources_scripts import Scripts
from services.router.domain.listener import ListenerName
from services.router.domain.snapshot import NodeSettings, Snapshot


@dataclass(frozen=True, slots=True)
class EnvoyResources:
    """All resources of one version, by kind and name.

    Push clusters and secrets before listeners and routes. Listeners depend only on `NodeSettings`, so they are equal,
    byte for byte, in every version that one Envoy sees: a new one would close connections. Routes depend on the
    settings of listeners as well.
    """

    clusters: Mapping[str, cluster_pb2.Cluster]
    listeners: Mapping[str, listener_pb2.Listener]
    routes: Mapping[str, route_pb2.RouteConfiguration]
    secrets: Mapping[str, secret_pb2.Secret]


def build_resources(
    snapshot: Snapshot, node: NodeSettings, secrets: Mapping[str, str], scripts: Scripts, descriptors: bytes
) -> EnvoyResources:
    """Returns the resources of `snapshot` for one Envoy.

    Args:
        snapshot: The clusters.
        node: Settings for this run of Envoy.
        secrets: Complete header value by secret name, for all of `snapshot.secret_names`.
        scripts: Envoy's Lua.
        descriptors: Serialized FileDescriptorSet of the admin services, including imports.

    Raises:
        KeyError: a secret in the snapshot is missing. Envoy would wait for it before it accepts the cluster.
    """
    allowed = snapshot.allowed_headers
    providers = [provider_cluster(spec, node, scripts, allowed) for spec in snapshot.clusters]
    clusters = [quota_cluster(node.quotas), *providers]
    listeners = [data_listener(node, scripts), admin_listener(node, descriptors)]
    routes = [data_routes(node, snapshot.cors_origins(ListenerName.DATA)), admin_routes(node)]
    return EnvoyResources(
        clusters={cluster.name: cluster for cluster in clusters},
        listeners={listener.name: listener for listener in listeners},
        routes={route.name: route for route in routes},
        secrets={name: secret(name, secrets[name]) for name in sorted(snapshot.secret_names)},
    )


__all__ = ["EnvoyResources", "Scripts", "build_resources"]
