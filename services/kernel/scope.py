"""Scopes: the calls that share a counter, under one name for every service.

A policy counts calls by the values that it names and by the distinct value of `each`. Quota counts them while they run,
and the ledger adds them up from its entries. Both use this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Dimension(StrEnum):
    """A property of a call that policies can name. Scopes list them in this order."""

    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    KEY = "key"
    MODEL = "model"


EVERYTHING = "organization"
"""The scope of a policy that matches every call and counts them together."""
NOBODY = "-"
"""Replaces a missing value in a scope: all calls without a user count as one user. No name can equal it."""
ScopeParts = tuple[tuple[Dimension, str], ...]
"""The parts of a policy's scopes, in the order of dimensions. An empty value means any value or none, each with a
counter of its own."""

# A policy is indexed by the rarest of the values that it names.
_BY_SELECTIVITY = (
    Dimension.KEY,
    Dimension.USER,
    Dimension.PROJECT,
    Dimension.TEAM,
    Dimension.MODEL,
    Dimension.ENVIRONMENT,
)


def scope_name(parts: Iterable[tuple[str, str]]) -> str:
    """Returns the scope of calls with these properties, given as (dimension, value)."""
    return ",".join(f"{dimension}={value}" for dimension, value in parts) or EVERYTHING


def part_scope(scope: str, name: str, value: str) -> str:
    """Returns the scope for one value, e.g. a run or a key, of a limit that counts values separately within a scope."""
    part = f"{name}={value}"
    if scope == EVERYTHING:
        return part
    return scope if part in scope.split(",") else f"{scope},{part}"


def run_of(scope: str) -> str:
    """Returns the run in a scope. Empty when it has none."""
    return scope.partition("run=")[2]


def has_parts(scope: str, parts: Iterable[tuple[str, str]], *, has_run: bool) -> bool:
    """Whether `scope` has exactly these parts, where an empty value means any or none, and whether it has a run."""
    rest = "" if scope == EVERYTHING else scope
    for dimension, value in parts:
        head, _, rest = rest.partition(",")
        name, _, has = head.partition("=")
        if name != dimension or not has or (value and value != has):
            return False
    return rest.startswith("run=") if has_run else not rest


def scope_of(parts: ScopeParts, has: Mapping[Dimension, str]) -> str | None:
    """Returns the scope of calls with these properties, e.g. "environment=dev,user=ada@example.com".

    None when a part does not match. Calls without a value for a part that counts each value separately share the value
    `-`: no call gets past a policy by lacking the property it counts.
    """
    if any(wanted and has[dimension] != wanted for dimension, wanted in parts):
        return None
    return scope_name((dimension, wanted or has[dimension] or NOBODY) for dimension, wanted in parts)


class ScopeIndex:
    """Finds which of many policies a call may match without looking at each. Immutable."""

    def __init__(self, sets: Iterable[ScopeParts]) -> None:
        self._positions: dict[tuple[Dimension, str] | None, list[int]] = {}
        for at, parts in enumerate(sets):
            self._positions.setdefault(_found_by(parts), []).append(at)

    def candidates(self, has: Mapping[Dimension, str]) -> list[int]:
        """Returns the positions of all sets that match these properties, and of few others, ascending."""
        found = list(self._positions.get(None, ()))
        for dimension in _BY_SELECTIVITY:
            found += self._positions.get((dimension, has[dimension]), ())
        return sorted(found)


def _found_by(parts: ScopeParts) -> tuple[Dimension, str] | None:
    named = {dimension: value for dimension, value in parts if value}
    return next(((dimension, named[dimension]) for dimension in _BY_SELECTIVITY if dimension in named), None)
