"""Asks Envoy's own admin interface, which listens on a Unix socket.

With the standard library alone: an HTTP client library takes 6 MB, in each process that asks something now and then.
"""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

_HOST = "envoy"


def ask_envoy(path: str, method: str, target: str, timeout_s: float) -> str:
    """Sends one request to the admin interface on the Unix socket `path`, and returns the text of the answer.

    `target`: such as "/stats?filter=warming".

    Raises:
        OSError: there is no Envoy, it did not answer in time, or it answered with an error.
    """
    with closing(_UnixConnection(path, timeout_s)) as connection:
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise ConnectionError(f"Envoy's answer to {method} {target} is not HTTP: {error!r}") from error
    if answer.status != http.client.OK:
        raise ConnectionError(f"Envoy answered {method} {target} with {answer.status}")
    return text


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(_HOST, timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connects to the path. `http.client` would connect to a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
