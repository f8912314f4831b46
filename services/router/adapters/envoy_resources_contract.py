"""The modules `contract` and `translations` of Envoy's scripts: what they share with Python, written by Python."""

from __future__ import annotations

from collections.abc import Mapping

from services.kernel.endpoint import (
    DEPLOYMENTS,
    DIALECT_HEADERS,
    ENDPOINTS,
    FIRST_DIALECT,
    MODEL,
    ROOTS,
    SHARED_PATHS,
    Endpoint,
    Operation,
)
from services.kernel.envoy_contract import KEY_HEADERS
from services.router.adapters.envoy_resources_lua import lua_value
from services.router.domain.translation import TRANSLATIONS, Translation


def lua_contract() -> str:
    """Returns the source of the module. Its readers are `envoy/lua/paths.lua`, `secret.lua` and `good_keys.lua`."""
    fields = {
        "first_dialect": FIRST_DIALECT,
        "roots": [{"path": root.path, "has_verb": root.has_verb, "dialect": root.dialect} for root in ROOTS],
        "calls": {path: _call(row) for row in ENDPOINTS for path in row.paths + row.azure_paths if MODEL not in path},
        # Where the path names the model in place of the body, by what follows it.
        "before_deployment": DEPLOYMENTS,
        "deployments": [
            {"behind": path.partition(MODEL)[2], "call": _call(row) | {"is_deployment": True}}
            for row in ENDPOINTS
            for path in row.azure_paths
            if MODEL in path
        ],
        # Where the path names the model.
        "calls_by_verb": {
            verb: {**_call(row), "stream": streams} for row in ENDPOINTS for verb, streams in row.verbs.items()
        },
        "shared_paths": SHARED_PATHS,
        "dialect_headers": [{"name": name, "dialect": dialect} for name, dialect in DIALECT_HEADERS.items()],
        # The part before the model in those paths.
        "before_model": sorted({path.partition(MODEL)[0] for row in ENDPOINTS for path in row.paths if MODEL in path}),
        "key_headers": KEY_HEADERS,
    }
    return _module(fields)


def lua_translations() -> str:
    """Returns the source of the module. Its readers are in `envoy/lua/translate`."""
    # The same table has one name only.
    rows = {id(one.objects): one for one in reversed(TRANSLATIONS)}
    return _module({one.name: _outcomes(one) for one in rows.values()})


def _outcomes(translation: Translation) -> dict[str, dict[str, str]]:
    """Returns the outcome of each member by name, by the place of its object."""
    found: dict[str, dict[str, str]] = {place: {} for place in translation.objects}
    for place, name, outcome in translation.outcomes():
        found[place][name] = outcome
    return found


def _module(fields: Mapping[str, object]) -> str:
    table = "".join(f"  {name} = {lua_value(value)},\n" for name, value in fields.items())
    return f"return {{\n{table}}}\n"


def _call(row: Endpoint) -> dict[str, str]:
    call = {"dialect": str(row.dialect), "scan": row.scan}
    # A chat has neither, because each word that a script passes on costs Envoy something.
    if row.operation is not Operation.CHAT:
        call |= {"operation": str(row.operation), "meter": row.meter}
    return call
