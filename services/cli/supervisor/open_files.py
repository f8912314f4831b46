"""How many files Envoy may open, and how many connections of clients that leaves room for."""

from __future__ import annotations

import json
import resource

# More than Envoy's bound on connections needs, and no more than a table of this size costs.
_ENOUGH = 65_536
# The others are connections to providers and services, the admin plane and files.
_PART_OF_CLIENTS_PERCENT = 60
# As in `bootstrap.yaml`.
_CONNECTIONS_MAX = 12_000


def raise_limit() -> int:
    """Lets this process and its children open as many files as the system allows, within reason; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def connections_within(files: int) -> str:
    """What `--config-yaml` adds to the bootstrap: a smaller bound for the data plane where files are scarce."""
    limit = min(_CONNECTIONS_MAX, files * _PART_OF_CLIENTS_PERCENT // 100)
    values = {"envoy.resource_limits.listener.data.connection_limit": limit}
    return json.dumps({"layered_runtime": {"layers": [{"name": "open_files", "static_layer": values}]}})
