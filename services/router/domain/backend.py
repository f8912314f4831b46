"""Backends: the clusters that a configuration asks for, each with the credential that it sends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.router.domain.address import Origin
from services.router.domain.plan import ClusterNames, cluster_name
from services.router.domain.provider import Face, Provider, reachable_faces_of
from services.router.domain.secret import SecretReference, SecretSource
from services.router.domain.snapshot import ClusterSpec

_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Backend:
    """A cluster, and the source of the credential that it sends."""

    cluster: ClusterSpec
    api_key: SecretReference
    credential_prefix: str

    def header_value(self, credential: str) -> str:
        """Returns the complete value of the credential header."""
        return self.credential_prefix + credential


def name_clusters(providers: Iterable[Provider], in_use: Mapping[str, Backend]) -> ClusterNames:
    """Names the cluster of each face, by provider and face.

    If a provider moves while requests may be using its old cluster, the new cluster gets another name. Those requests
    carry the old host and path, and must not reach the new server.
    """
    names = {}
    for provider in providers:
        for face in reachable_faces_of(provider):
            name = cluster_name(provider.name, face.name)
            before = in_use.get(name)
            if before is not None and _address(before.cluster) != (origin := face.origin):
                digest = hashlib.sha256(f"{origin.tls} {origin.host_header}".encode()).hexdigest()
                name = f"{name}~{digest[:_DIGITS]}"
            names[provider.name, face.name] = name
    return names


def backends_of(providers: Iterable[Provider], names: ClusterNames) -> tuple[Backend, ...]:
    """Returns one backend for each face of each provider, by name of the cluster."""
    backends = [
        _backend(provider, face, names[provider.name, face.name])
        for provider in providers
        for face in reachable_faces_of(provider)
    ]
    return tuple(sorted(backends, key=lambda backend: backend.cluster.name))


def _address(cluster: ClusterSpec) -> Origin:
    return Origin(cluster.tls, cluster.hostname, cluster.port)


def _backend(provider: Provider, face: Face, name: str) -> Backend:
    # The origin is part of the secret's name, so that no server ever sees another server's key. A cluster that Envoy
    # refused may return with another address, and clusters are pushed before secrets.
    secret = f"{name}@{face.origin.host_header}" if provider.api_key.source is not SecretSource.NONE else ""
    cluster = ClusterSpec(
        name=name,
        dialect=face.dialect,
        hostname=face.origin.hostname,
        port=face.origin.port,
        tls=face.origin.tls,
        credential_header=face.credential_header,
        secret_name=secret,
        allowed_headers=provider.allowed_headers,
        operation=face.asked,
        translated_to=face.translated_to,
    )
    return Backend(cluster, provider.api_key, face.credential_prefix)
