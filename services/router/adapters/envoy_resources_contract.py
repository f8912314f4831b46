"""The modules `contract` and `translations` of Envoy's scripts: what they share with Python, written by Python."""

from __future__ import annotations

from collections.abc import Mapping

from services.kernel.dialect import DIALECT_HEADERS, ENDPOINTS, MODEL, SHARED_PATHS, VERBS
from services.kernel.envoy_contract import KEY_HEADERS
from services.router.adapters.envoy_resources_lua import lua_value
from services.router.domain.translation import CHAT_TO_MESSAGES, MESSAGES_TO_CHAT, Translation


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
    return _module(fields)


def lua_translations() -> str:
    """Returns the source of the module. Its readers are in `envoy/lua/translate`."""
    return _module({"chat_to_messages": _outcomes(CHAT_TO_MESSAGES), "messages_to_chat": _outcomes(MESSAGES_TO_CHAT)})


def _outcomes(translation: Translation) -> dict[str, dict[str, str]]:
    """Returns the outcome of each member by name, by the place of its object."""
    found: dict[str, dict[str, str]] = {place: {} for place in translation.objects}
    for place, name, outcome in translation.outcomes():
        found[place][name] = outcome
    return found


def _module(fields: Mapping[str, object]) -> str:
    table = "".join(f"  {name} = {lua_value(value)},\n" for name, value in fields.items())
    return f"return {{\n{table}}}\n"
