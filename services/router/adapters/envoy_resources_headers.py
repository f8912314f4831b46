"""The headers that pass at one provider, as a Lua table in front of `envoy/lua/target.lua`.

Envoy has mutations that remove headers by name or pattern, but none that keeps a list and removes the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from services.kernel.dialect import Dialect
from services.router.adapters.envoy_resources_lua import lua_value
from services.router.domain.headers import (
    ANTHROPIC_VERSION,
    ANTHROPIC_VERSION_HEADER,
    EXPECTED_FROM_CLIENT,
    EXPECTED_FROM_CLIENT_PREFIXES,
    EXPECTED_FROM_PROVIDER,
    EXPECTED_FROM_PROVIDER_PREFIXES,
    TO_CLIENT,
    TO_PROVIDER,
    Passing,
)
from services.router.domain.snapshot import ClusterSpec


def with_headers(script: str, spec: ClusterSpec, all_allowed: Collection[str]) -> str:
    """Puts the table for one cluster in front of `script`. `all_allowed` are the headers that any provider adds."""
    own = spec.allowed_headers
    credential = [spec.credential_header] if spec.secret_name else []
    fields = {
        # The credential is already in the request. Without one the header does not pass.
        "credential_header": spec.credential_header if spec.secret_name else None,
        "to_provider": dict.fromkeys([*_names(TO_PROVIDER, spec), *own, *credential], True),
        "set": _set(spec),
        "to_client": dict.fromkeys([*_names(TO_CLIENT, spec), *own], True),
        "expected_from_client": _expected(EXPECTED_FROM_CLIENT, EXPECTED_FROM_CLIENT_PREFIXES),
        "expected_from_provider": _expected(EXPECTED_FROM_PROVIDER, EXPECTED_FROM_PROVIDER_PREFIXES),
        "added": own,
        "others": dict.fromkeys(sorted(frozenset(all_allowed).difference(own)), True),
    }
    table = "".join(f"  {name} = {lua_value(value)},\n" for name, value in fields.items() if value is not None)
    return f"local PROVIDER = {{\n{table}}}\n{script}"


def _names(passing: Iterable[Passing], spec: ClusterSpec) -> list[str]:
    """Returns the headers that mean something on both sides of the cluster."""
    sides = {spec.dialect, spec.translated_to or spec.dialect}
    return [one.name for one in passing if sides <= set(one.dialects)]


def _set(spec: ClusterSpec) -> dict[str, str]:
    """Returns the headers that the gateway writes itself."""
    found = {one.name: one.value for one in TO_PROVIDER if one.value and one.name not in spec.allowed_headers}
    if spec.translated_to is Dialect.ANTHROPIC:
        found |= {ANTHROPIC_VERSION_HEADER: ANTHROPIC_VERSION}
    return found


def _expected(names: Iterable[str], prefixes: Iterable[str]) -> dict[str, object]:
    return {"names": dict.fromkeys(names, True), "prefixes": tuple(prefixes)}
