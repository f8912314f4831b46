"""Resolves names with the host's own resolver, which reads the same files as Envoy's."""

from __future__ import annotations

import ipaddress
import socket

from services.router.domain.metadata_address import IpAddress


def resolve(name: str) -> list[IpAddress]:
    """Returns the addresses of a name.

    Raises:
        OSError: it has none at the moment, or nobody answers.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{name} is not the name of a host") from error
    # An IPv6 address may end in a zone.
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
