"""The vendors' SDKs in Node, pointed at a gateway. `node/sdks.mjs` is what runs there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.clients.program import Program
from tests.worlds.gateway import Gateway


@dataclass(frozen=True, slots=True)
class NodeSdks:
    """The SDKs with their defaults: they retry as their vendors want."""

    program: Program
    gateway: Gateway

    def call(self, key: str, method: str, *arguments: Any, form: str = "value") -> Any:
        """Calls "SDK: a.method.of.it". `form` is "list" for the events of a stream, "final" for what they make.

        Raises:
            Raised: the SDK raised something.
        """
        sdk, _, path = method.partition(": ")
        job = {"sdk": sdk, "url": self.gateway.url, "secret": self.gateway.secret(key)}
        return self.program.ask(job | {"call": path.split("."), "with": arguments, "as": form})
