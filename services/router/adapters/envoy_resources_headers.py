"""The headers that pass at one provider, as a Lua table in front of `envoy/lua/target.lua`.

Envoy has mutations that remove headers by name or pattern, but none that keeps a list and removes the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from services.router.domain.headers import (
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
        "credential_header": _text(spec.credential_header) if spec.secret_name else "nil",
        "to_provider": _set([*_names(TO_PROVIDER, spec), *own, *credential]),
        "set": _values({one.name: one.value for one in TO_PROVIDER if one.value and one.name not in own}),
        "to_client": _set([*_names(TO_CLIENT, spec), *own]),
        "expected_from_client": _expected(EXPECTED_FROM_CLIENT, EXPECTED_FROM_CLIENT_PREFIXES),
        "expected_from_provider": _expected(EXPECTED_FROM_PROVIDER, EXPECTED_FROM_PROVIDER_PREFIXES),
        "added": _list(own),
        "others": _set(sorted(frozenset(all_allowed).difference(own))),
    }
    table = "".join(f"  {name} = {value},\n" for name, value in fields.items())
    return f"local PROVIDER = {{\n{table}}}\n{script}"


def _names(passing: Iterable[Passing], spec: ClusterSpec) -> list[str]:
    return [one.name for one in passing if spec.dialect in one.dialects]


def _expected(names: Iterable[str], prefixes: Iterable[str]) -> str:
    return f"{{ names = {_set(names)}, prefixes = {_list(prefixes)} }}"


def _set(names: Iterable[str]) -> str:
    return _values(dict.fromkeys(names, None))


def _values(values: Mapping[str, str | None]) -> str:
    pairs = (f"[{_text(name)}] = {'true' if value is None else _text(value)}" for name, value in values.items())
    return "{ " + ", ".join(pairs) + " }"


def _list(names: Iterable[str]) -> str:
    return "{ " + ", ".join(map(_text, names)) + " }"


def _text(value: str) -> str:
    """Quotes a Lua string. Ours need no escapes: they are names of headers, or come from the domain's table."""
    assert value.isascii(), value  # noqa: S101
    assert value.isprintable(), value  # noqa: S101
    assert not set(value) & {'"', "\\"}, value  # noqa: S101
    return f'"{value}"'
