"""Asks Envoy's own admin interface what ADS does not say: whether clusters that it took are ready for use.

Envoy acknowledges a cluster before it has resolved its host. Until then it answers calls as if the cluster did not
exist, so quota must not name it yet.
"""

from __future__ import annotations

from pathlib import Path

import httpx

_STATISTIC = "cluster_manager.warming_clusters"
_TIMEOUT_S = 1.0


class EnvoyAdmin:
    """The admin socket of the Envoy on this machine."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def is_warming(self) -> bool:
        """Whether some cluster is not ready. Also False when there is no such Envoy to ask."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._socket))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://envoy", timeout=_TIMEOUT_S) as client:
                answer = await client.get("/stats", params={"filter": f"^{_STATISTIC}$"})
        except httpx.HTTPError:
            return False
        name, _, count = answer.text.strip().partition(": ")
        return name == _STATISTIC and count != "0"
