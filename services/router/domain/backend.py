"""Backends: the clusters that a configuration asks for, each with the credential that it sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.router.domain.plan import cluster_name
from services.router.domain.provider import Face, Provider, faces_of
from services.router.domain.secret import SecretReference, SecretSource
from services.router.domain.snapshot import ClusterSpec


@dataclass(frozen=True, slots=True)
class Backend:
    """A cluster, and where the credential comes from that it sends."""

    cluster: ClusterSpec
    api_key: SecretReference
    credential_prefix: str

    def header_value(self, credential: str) -> str:
        """The whole value of the credential header."""
        return self.credential_prefix + credential


def backends_of(providers: Iterable[Provider]) -> tuple[Backend, ...]:
    """One backend for each face of each provider, by name of the cluster."""
    backends = [_backend(provider, face) for provider in providers for face in faces_of(provider)]
    return tuple(sorted(backends, key=lambda backend: backend.cluster.name))


def _backend(provider: Provider, face: Face) -> Backend:
    name = cluster_name(provider.name, face.dialect)
    # The origin is part of the secret's name. Were it not, a provider that moves and changes its key at once would for
    # a moment show the old key to the new server, since clusters are pushed before secrets.
    secret = f"{name}@{face.origin.host_header}" if provider.api_key.source is not SecretSource.NONE else ""
    cluster = ClusterSpec(
        name=name,
        dialect=face.dialect,
        hostname=face.origin.hostname,
        port=face.origin.port,
        tls=face.origin.tls,
        credential_header=face.credential_header,
        secret_name=secret,
    )
    return Backend(cluster, provider.api_key, face.credential_prefix)
