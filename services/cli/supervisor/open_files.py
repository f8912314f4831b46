"""How many files Envoy may open, and how many client connections that leaves room for."""

from __future__ import annotations

import json
import resource

# More than Envoy's bound on connections needs, but small enough that the table costs little.
_ENOUGH = 65_536
# The rest is for connections to providers and services, the admin plane and files.
_PART_OF_CLIENTS_PERCENT = 60
# The same as in `bootstrap.yaml`.
_CONNECTIONS_MAX = 12_000


def raise_limit() -> int:
    """Raises the limit for this process and its children as far as the system allows, within reason. Returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def connections_within(files: int) -> str:
    """Returns an addition for `--config-yaml`: a smaller bound for the data plane where files are scarce."""
    limit = min(_CONNECTIONS_MAX, files * _PART_OF_CLIENTS_PERCENT // 100)
    values = {"envoy.resource_limits.listener.data.connection_limit": limit}
    return json.dumps({"layered_runtime": {"layers": [{"name": "open_files", "static_layer": values}]}})
