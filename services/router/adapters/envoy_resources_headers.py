"""The headers that pass at one provider: what Envoy removes natively, and a table for `envoy/lua/target.lua`.

Envoy has mutations that remove headers by name or pattern, but none that keeps what a list names and removes the rest.
So what everybody sends and nobody misses goes natively, which costs a tenth, and the script removes what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from spendgate_envoy.envoy.config.common.mutation_rules.v3 import mutation_rules_pb2

from services.router.adapters.envoy_resources_wire import prefix, remove_headers, remove_matching
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


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """The rules of one cluster."""

    to_provider: frozenset[str]
    to_client: frozenset[str]
    written: Mapping[str, str]
    """Values that the gateway writes, by name."""
    added: tuple[str, ...]
    """What this provider adds."""
    others: frozenset[str]
    """What only other providers add: of a request it is put aside for their attempts."""
    credential_header: str
    """Empty: the provider takes none."""

    @classmethod
    def of(cls, spec: ClusterSpec, all_allowed: Collection[str]) -> HeaderRules:
        """The rules of a cluster, where providers add `all_allowed` in all."""
        own = spec.allowed_headers
        # The credential stands in the request when the script runs. Without one the header does not pass.
        credential = spec.credential_header if spec.secret_name else ""
        return cls(
            to_provider=frozenset(_names(TO_PROVIDER, spec)).union(own, filter(None, [credential])),
            to_client=frozenset(_names(TO_CLIENT, spec)).union(own),
            written={one.name: one.value for one in TO_PROVIDER if one.value and one.name not in own},
            added=own,
            others=frozenset(all_allowed).difference(own),
            credential_header=credential,
        )

    def removed_from_requests(self) -> list[mutation_rules_pb2.HeaderMutation]:
        """What is removed of a request before the script sees it, but for credentials."""
        return _removing(EXPECTED_FROM_CLIENT, EXPECTED_FROM_CLIENT_PREFIXES, self.to_provider | self.others)

    def removed_from_answers(self) -> list[mutation_rules_pb2.HeaderMutation]:
        """What is removed of an answer after the script saw it."""
        return _removing(EXPECTED_FROM_PROVIDER, EXPECTED_FROM_PROVIDER_PREFIXES, self.to_client)

    def before(self, script: str) -> str:
        """`script` behind the table that it reads."""
        expected = _expected(EXPECTED_FROM_PROVIDER, EXPECTED_FROM_PROVIDER_PREFIXES, self.to_client)
        fields = {
            "credential_header": _text(self.credential_header) if self.credential_header else "nil",
            "to_provider": _set(self.to_provider),
            "written": _values(self.written),
            "added": _list(self.added),
            "others": _set(self.others),
            "to_client": _set(self.to_client),
            "removed_later": f"{{ names = {_set(expected.names)}, prefixes = {_list(expected.prefixes)} }}",
        }
        table = "".join(f"  {name} = {value},\n" for name, value in fields.items())
        return f"PROVIDER = {{\n{table}}}\n{script}"


class _Expected(NamedTuple):
    names: tuple[str, ...]
    prefixes: tuple[str, ...]


def _expected(names: Iterable[str], prefixes: Iterable[str], passing: Collection[str]) -> _Expected:
    """Those that concern nothing that passes."""
    return _Expected(
        tuple(name for name in names if name not in passing),
        tuple(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in passing)),
    )


def _removing(
    names: Iterable[str], prefixes: Iterable[str], passing: Collection[str]
) -> list[mutation_rules_pb2.HeaderMutation]:
    expected = _expected(names, prefixes, passing)
    return [*remove_headers(expected.names), *(remove_matching(prefix(start)) for start in expected.prefixes)]


def _names(passing: Iterable[Passing], spec: ClusterSpec) -> list[str]:
    return [one.name for one in passing if spec.dialect in one.dialects]


def _set(names: Iterable[str]) -> str:
    return _values(dict.fromkeys(sorted(names), None))


def _values(values: Mapping[str, str | None]) -> str:
    pairs = (f"[{_text(name)}] = {'true' if value is None else _text(value)}" for name, value in values.items())
    return "{ " + ", ".join(pairs) + " }"


def _list(names: Iterable[str]) -> str:
    return "{ " + ", ".join(map(_text, names)) + " }"


def _text(value: str) -> str:
    """A string of Lua. None of ours needs an escape: they are names of headers, or stand in the table of the domain."""
    assert value.isascii(), value  # noqa: S101
    assert value.isprintable(), value  # noqa: S101
    assert not set(value) & {'"', "\\"}, value  # noqa: S101
    return f'"{value}"'
