"""The module `contract` of Envoy's scripts: the names that they share with Python, written by Python."""

from __future__ import annotations

from services.kernel.dialect import DIALECT_HEADERS, ENDPOINTS, MODEL, SHARED_PATHS, VERBS
from services.kernel.envoy_contract import KEY_HEADERS
from services.router.adapters.envoy_resources_lua import lua_value


def lua_contract() -> str:
    """Returns the source of the module. Its readers are `envoy/lua/paths.lua`, `secret.lua` and `good_keys.lua`."""
    fields = {
        "first_dialect": ENDPOINTS[0].dialect,
        "roots": [
            {"path": root.path, "has_verb": root.has_verb, "dialect": endpoint.dialect}
            for endpoint in ENDPOINTS
            for root in endpoint.roots
        ],
        "shared_paths": SHARED_PATHS,
        "dialect_headers": [{"name": name, "dialect": dialect} for name, dialect in DIALECT_HEADERS.items()],
        # The part before the model in paths that name one.
        "before_model": [
            path.partition(MODEL)[0] for endpoint in ENDPOINTS for path in endpoint.paths if MODEL in path
        ],
        "streams_by_verb": VERBS,
        "key_headers": KEY_HEADERS,
    }
    table = "".join(f"  {name} = {lua_value(value)},\n" for name, value in fields.items())
    return f"return {{\n{table}}}\n"
