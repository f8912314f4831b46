"""Asks Envoy's own admin interface what ADS does not say: whether clusters that it took are ready for use.

Envoy acknowledges a cluster before it has resolved its host. Until then it answers calls as if the cluster did not
exist, so quota must not name it yet.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.chassis.envoy_admin import ask_envoy

_STATISTIC = "cluster_manager.warming_clusters"
_TIMEOUT_S = 1.0


class EnvoyAdmin:
    """The admin socket of the Envoy on this machine."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def is_warming(self) -> bool:
        """Whether some cluster is not ready. Also False when there is no such Envoy to ask."""
        target = f"/stats?filter=^{_STATISTIC}$"
        try:
            answer = await asyncio.to_thread(ask_envoy, str(self._socket), "GET", target, _TIMEOUT_S)
        except OSError:
            return False
        name, _, count = answer.strip().partition(": ")
        return name == _STATISTIC and count != "0"
