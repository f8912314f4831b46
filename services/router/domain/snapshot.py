"""What Envoy is to hold: an immutable picture of the data plane, free of Envoy's own message types.

`adapters/envoy_resources` turns it into listeners, routes, clusters and secrets; `transport/ads` sends those.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import MAX_STREAM_S


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One provider reached in one dialect: one Envoy cluster.

    Model, path and host are not here: they differ by target and travel with each request.
    """

    name: str
    """`<provider>.<dialect>`, followed by `~` and eight digits while the provider moves to another address."""
    dialect: Dialect
    hostname: str
    """Name or address to connect to."""
    port: int
    tls: bool
    credential_header: str
    """Lower case, e.g. "authorization" or "x-api-key"."""
    secret_name: str
    """Name of the SDS secret that holds the header's whole value. Empty: the provider takes no credential."""
    allowed_headers: tuple[str, ...] = ()
    """Headers that pass besides those of `domain.headers`, in both directions."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one version of the configuration puts into Envoy."""

    version: str
    clusters: tuple[ClusterSpec, ...]
    """Unique by name, sorted. Includes clusters that are retiring: no new plan names them, requests in flight may."""

    @property
    def secret_names(self) -> frozenset[str]:
        """The secrets that the clusters refer to."""
        return frozenset(cluster.secret_name for cluster in self.clusters if cluster.secret_name)

    @property
    def allowed_headers(self) -> frozenset[str]:
        """The headers that some provider adds to those that always pass."""
        return frozenset(name for cluster in self.clusters for name in cluster.allowed_headers)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What differs between runs of Envoy, or comes from settings and not from the configuration file."""

    epoch: str
    """Node id of the ADS stream."""
    data_host: str
    data_port: int
    admin_host: str
    admin_port: int
    spool_dir: str
    """Absolute path of the folder of spool files."""
    log_dir: str
    """Absolute path of the folder of logs."""
    otlp_host: str = ""
    """Host of an OTLP/gRPC receiver. Empty: no traces."""
    otlp_port: int = 0
    tls_certificate: str = ""
    """Path of a PEM file for the data and admin listeners. Empty: plain text."""
    tls_private_key: str = ""
    max_body_bytes: int = 16 * 1024 * 1024
    max_stream_seconds: int = MAX_STREAM_S
    """A request lives at most this long: what quota and ledger rely on to give up on a reservation."""
    check_timeout_ms: int = 500
    quotas: int = 1
    """How many quotas answer Checks, each on a socket of its own."""
    headers_timeout_ms: int = 10_000
    """From the first byte of a request's head to its last, and from a connection to its first byte."""
    idle_timeout_ms: int = 180_000
    """How long a connection without a request in flight stays."""
    body_timeout_ms: int = 120_000
    """From the first byte of a request to its last."""
    provider_roots: str = ""
    """Path of a PEM file with the roots that providers' certificates must lead to. Empty: the public ones."""
    trace_sampling_percent: int = 100
