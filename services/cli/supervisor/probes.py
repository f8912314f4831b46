"""Asks the gateway's listeners for an answer over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from contextlib import closing
from urllib.parse import SplitResult, urlsplit

_TIMEOUT_S = 2.0


async def http_status(url: str) -> int | None:
    """Returns the status of a GET without credentials, or None when nothing answers."""
    return await asyncio.to_thread(_http_status, url)


def _http_status(url: str) -> int | None:
    parts = urlsplit(url)
    with closing(_connection(parts)) as connection:
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    if url.scheme == "http":
        return http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT_S)
    # This is our own listener on this machine, reached by address. Its certificate names something else.
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(url.netloc, timeout=_TIMEOUT_S, context=unchecked)
