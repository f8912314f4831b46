"""Scopes: the calls that share a counter, named alike by whoever counts them.

A policy counts calls under the values that it names and the distinct value of `each`. Quota counts them so while they
run, and the ledger adds them up so from its entries: both by this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Dimension(StrEnum):
    """A property of a call that policies can name, in the order in which scopes are written."""

    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    KEY = "key"
    MODEL = "model"


EVERYTHING = "organization"
"""Of a policy that matches every call and counts them together."""
NOBODY = "-"
"""Stands in a scope for the value that a call has not: all calls without a user count as one user. No name is so."""
ScopeParts = tuple[tuple[Dimension, str], ...]
"""What the scopes of a policy are made of, in the order of dimensions. An empty value stands for any and for none, each
with a counter of its own."""

# Of the values that a policy names, the one that the fewest calls have is what it is found by.
_BY_SELECTIVITY = (
    Dimension.KEY,
    Dimension.USER,
    Dimension.PROJECT,
    Dimension.TEAM,
    Dimension.MODEL,
    Dimension.ENVIRONMENT,
)


def scope_name(parts: Iterable[tuple[str, str]]) -> str:
    """The scope of calls with these properties, each given with its value."""
    return ",".join(f"{dimension}={value}" for dimension, value in parts) or EVERYTHING


def part_scope(scope: str, name: str, value: str) -> str:
    """What a limit that counts each value apart, as of a run or a key, counts a call under within a scope."""
    part = f"{name}={value}"
    if scope == EVERYTHING:
        return part
    return scope if part in scope.split(",") else f"{scope},{part}"


def run_of(scope: str) -> str:
    """The run that a scope is of, empty when it is of none."""
    return scope.partition("run=")[2]


def has_parts(scope: str, parts: Iterable[tuple[str, str]], *, has_run: bool) -> bool:
    """Whether `scope` is of these properties, an empty value standing for any or none, and of a run or of none."""
    rest = "" if scope == EVERYTHING else scope
    for dimension, value in parts:
        head, _, rest = rest.partition(",")
        name, _, has = head.partition("=")
        if name != dimension or not has or (value and value != has):
            return False
    return rest.startswith("run=") if has_run else not rest


def scope_of(parts: ScopeParts, has: Mapping[Dimension, str]) -> str | None:
    """What calls with these properties are counted under, e.g. "environment=dev,user=ada@example.com".

    None: they are not of these parts. All calls without a value of a dimension that is told apart count together, as if
    `-` were their value: no call gets past a policy by lacking what it counts.
    """
    if any(wanted and has[dimension] != wanted for dimension, wanted in parts):
        return None
    return scope_name((dimension, wanted or has[dimension] or NOBODY) for dimension, wanted in parts)


class ScopeIndex:
    """Finds those of many sets of parts that calls may be of, without looking at each. Immutable."""

    def __init__(self, sets: Iterable[ScopeParts]) -> None:
        self._positions: dict[tuple[Dimension, str] | None, list[int]] = {}
        for at, parts in enumerate(sets):
            self._positions.setdefault(_found_by(parts), []).append(at)

    def candidates(self, has: Mapping[Dimension, str]) -> list[int]:
        """The positions of all sets that calls with these properties are of, and of few others, ascending."""
        found = list(self._positions.get(None, ()))
        for dimension in _BY_SELECTIVITY:
            found += self._positions.get((dimension, has[dimension]), ())
        return sorted(found)


def _found_by(parts: ScopeParts) -> tuple[Dimension, str] | None:
    named = {dimension: value for dimension, value in parts if value}
    return next(((dimension, named[dimension]) for dimension in _BY_SELECTIVITY if dimension in named), None)
