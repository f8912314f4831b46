"""Makes one call to a server, step by step, so that a failure names its step. It blocks, for at most 12 seconds."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import replace

import certifi

from services.router.adapters.name_resolver import resolve
from services.router.domain.address import NEVER_A_PROVIDER
from services.router.domain.metadata_address import IpAddress, is_metadata_address
from services.router.domain.trial import Post, Seen, Step

# The admin listener and the command line wait a little longer.
_PATIENCE_S = 12.0
_CONNECT_TIMEOUT_S = 3.0
_MAX_BODY_BYTES = 1024 * 1024


class ProviderCall:
    """Calls with the same authorities as Envoy."""

    def __init__(self, roots: str) -> None:
        """`roots`: PEM file of the authorities for providers. Empty: the public ones."""
        self._roots = roots

    def __call__(self, post: Post) -> Seen:
        """Makes the request. Never raises, and follows no redirect."""
        origin = post.origin
        deadline = time.monotonic() + _PATIENCE_S
        try:
            addresses = list(resolve(origin.hostname))
        except OSError as error:
            return Seen(Step.NAME, error=_reason(error))
        if any(is_metadata_address(address) for address in addresses):
            return Seen(Step.NAME, error=NEVER_A_PROVIDER)
        began = time.monotonic()
        seen, connection = _connect(addresses, origin.port)
        if connection is None:
            return seen
        seen = replace(seen, connect_ms=_ms_since(began))
        with connection:
            if not origin.tls:
                return _ask(connection, post, seen, deadline)
            began = time.monotonic()
            try:
                context = ssl.create_default_context(cafile=self._roots or certifi.where())
                context.set_alpn_protocols(["http/1.1"])
                encrypted = context.wrap_socket(connection, server_hostname=origin.hostname)
            except (OSError, ValueError) as error:
                return replace(seen, step=Step.TLS, error=_reason(error))
            with encrypted:
                seen = replace(seen, tls_ms=_ms_since(began), tls_version=encrypted.version() or "")
                return _ask(encrypted, post, seen, deadline)


def _connect(addresses: Iterable[IpAddress], port: int) -> tuple[Seen, socket.socket | None]:
    """Connects to the first address that answers, IPv4 before IPv6 as Envoy does."""
    seen = Seen(Step.CONNECT, error="it has no address")
    for address in sorted(addresses, key=lambda one: one.version)[:4]:
        shown = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        try:
            return Seen(Step.ANSWER, shown), socket.create_connection((str(address), port), _CONNECT_TIMEOUT_S)
        except OSError as error:
            seen = Seen(Step.CONNECT, shown, error=_reason(error))
    return seen, None


def _ask(connection: socket.socket, post: Post, seen: Seen, deadline: float) -> Seen:
    began = time.monotonic()
    connection.settimeout(max(0.1, deadline - began))
    client = http.client.HTTPConnection(post.origin.hostname, post.origin.port)
    client.sock = connection
    try:
        client.request("POST", post.path, post.body, {"host": post.origin.host_header, **post.headers})
        answer = client.getresponse()
        taken = answer.read(_MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException) as error:
        return replace(seen, error=_reason(error), answer_ms=_ms_since(began))
    return replace(seen, step=Step.DONE, status=answer.status, body=taken, answer_ms=_ms_since(began))


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _ms_since(began: float) -> int:
    return int((time.monotonic() - began) * 1_000)
