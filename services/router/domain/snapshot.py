"""What Envoy should hold: an immutable picture of the data plane, free of Envoy's own message types.

`adapters/envoy_resources` turns it into listeners, routes, clusters and secrets. `transport/ads` sends those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import MAX_STREAM_S
from services.router.domain.listener import Listener, ListenerName
from services.router.domain.plan import ModelPlan, PlannedTarget, RoutePlan

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One provider reached by clients of one dialect: one Envoy cluster.

    Model, path and host are not part of it. They differ by target and travel with each request.
    """

    name: str
    """`<provider>.<face>`, followed by `~` and eight digits while the provider moves to another address."""
    dialect: Dialect
    """What its clients speak."""
    hostname: str
    """Name or address to connect to."""
    port: int
    tls: bool
    credential_header: str
    """Lower case, e.g. "authorization" or "x-api-key"."""
    secret_name: str
    """Name of the SDS secret with the header's complete value. Empty: the provider takes no credential."""
    allowed_headers: tuple[str, ...] = ()
    """Headers that pass in both directions besides those of `domain.headers`."""
    translated_to: Dialect | None = None
    """What its provider's chat speaks, if calls are translated."""
    operation: Operation = Operation.CHAT
    """What its clients ask for, if calls are translated."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one version of the configuration puts into Envoy."""

    version: str
    clusters: tuple[ClusterSpec, ...]
    """Unique by name, sorted. Retiring clusters are included: no new plan names them, but requests in flight may."""
    listeners: tuple[Listener, ...] = ()
    """Listeners with settings of their own."""

    def cors_origins(self, listener: ListenerName) -> tuple[str, ...]:
        """Returns the origins whose web pages may call a listener."""
        return next((one.cors_origins for one in self.listeners if one.name == listener), ())

    @property
    def secret_names(self) -> frozenset[str]:
        """The secrets that the clusters refer to."""
        return frozenset(cluster.secret_name for cluster in self.clusters if cluster.secret_name)

    @property
    def allowed_headers(self) -> frozenset[str]:
        """The headers that providers add to those that always pass."""
        return frozenset(name for cluster in self.clusters for name in cluster.allowed_headers)

    def check(self, plan: RoutePlan, secrets: Collection[str]) -> tuple[str, ...]:
        """Returns what would go wrong if Envoy got this snapshot with these secrets, and quota then got this plan.

        It assumes nothing about how the three were made. So it catches mistakes that would harm calls: a cluster that
        nobody has, a key sent to another server, a chain that never ends.
        """
        return (*self._check_clusters(), *self._check_secrets(secrets), *self._check_plan(plan))

    def _check_clusters(self) -> Iterator[str]:
        for before, cluster in pairwise(self.clusters):
            if before.name >= cluster.name:
                yield f"cluster {cluster.name} is there twice, or not in the order of names"
        for cluster in self.clusters:
            if not cluster.hostname or not 1 <= cluster.port <= _MAX_PORT:
                yield f"cluster {cluster.name} has no address"

    def _check_secrets(self, secrets: Collection[str]) -> Iterator[str]:
        for name in sorted(self.secret_names - set(secrets)):
            yield f"secret {name} is missing"
        for name in sorted(set(secrets) - self.secret_names):
            yield f"secret {name} belongs to no cluster"
        servers: dict[str, tuple[str, int, bool]] = {}
        for cluster in self.clusters:
            server = (cluster.hostname, cluster.port, cluster.tls)
            if cluster.secret_name and servers.setdefault(cluster.secret_name, server) != server:
                yield f"secret {cluster.secret_name} would be shown to two servers"

    def _check_plan(self, plan: RoutePlan) -> Iterator[str]:
        dialects = {cluster.name: cluster.dialect for cluster in self.clusters}
        for target in plan.targets:
            yield from _check_target(target, dialects)
        known = {target.name for target in plan.targets}
        for model in plan.models:
            yield from _check_model(model, known)
        chains = [tier.chain for model in plan.models for tier in model.tiers]
        named = {one.target for chain in chains for group in chain for one in group.targets}
        for name in sorted(known - named):
            yield f"target {name} is in no chain"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Whatever differs between runs of Envoy, or comes from settings instead of the configuration file."""

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
    tls_certificate: str = ""
    """Path of a PEM file for the data and admin listeners. Empty: plain text."""
    tls_private_key: str = ""
    max_body_bytes: int = 16 * 1024 * 1024
    max_stream_seconds: int = MAX_STREAM_S
    """The longest life of a request. Quota and ledger rely on it to give up on a reservation."""
    check_timeout_ms: int = 500
    quotas: int = 1
    """Number of quotas that answer Checks, each on its own socket."""
    headers_timeout_ms: int = 10_000
    """Time from the first byte of a request's head to its last, and from a connection to its first byte."""
    idle_timeout_ms: int = 180_000
    """How long a connection stays open without a request in flight."""
    body_timeout_ms: int = 120_000
    """Time from the first byte of a request to its last."""
    provider_roots: str = ""
    """Path of a PEM file with the root certificates for providers. Empty: the public ones."""


def _check_target(target: PlannedTarget, dialects: dict[str, Dialect]) -> Iterator[str]:
    if not target.faces:
        yield f"target {target.name} has no face"
    for face in target.faces:
        if face.cluster not in dialects:
            yield f"target {target.name} names cluster {face.cluster}, which Envoy would not have"
        elif dialects[face.cluster] is not face.dialect:
            yield f"target {target.name} speaks {face.dialect} to cluster {face.cluster}, which does not"


def _check_model(model: ModelPlan, known: Collection[str]) -> Iterator[str]:
    if model.tiers and model.tiers[0].from_basis_points != 0:
        yield f"model {model.model} has no tier for an untouched budget"
    for low, high in pairwise(model.tiers):
        if low.from_basis_points >= high.from_basis_points:
            yield f"tiers of model {model.model} do not rise"
    for tier in model.tiers:
        chain = [one.target for group in tier.chain for one in group.targets]
        if not tier.chain or not all(group.targets for group in tier.chain):
            yield f"a chain of model {model.model} has an empty place"
        if len(chain) != len(set(chain)):
            yield f"a chain of model {model.model} repeats a target"
        for name in sorted(set(chain) - set(known)):
            yield f"a chain of model {model.model} names target {name}, which is not in the plan"
