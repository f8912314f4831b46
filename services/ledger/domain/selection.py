"""Selects calls for a question: dimensions, filters and time ranges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.change import Actor
from services.kernel.endpoint import Operation
from services.kernel.errors import InvalidInput, PermissionDenied
from services.kernel.usage import UsageSource
from services.ledger.domain.outcome import Outcome

_MOST_PAIRS = 16


class Dimension(StrEnum):
    """A property by which calls are grouped and filtered."""

    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    KEY = "key"
    MODEL = "model"
    """The model the client asked for."""
    MODEL_SERVED = "model_served"
    """ "provider/model" that answered."""
    OPERATION = "operation"
    """What was asked of the model: an `Operation`; empty if nobody recorded it."""
    PROVIDER = "provider"
    STATUS = "status"
    """Status class: "2xx"; "none" when the client got no status."""
    DAY = "day"
    """In UTC."""
    HOUR = "hour"
    """In UTC."""
    OUTCOME = "outcome"
    """How the call ended: an `Outcome`. Like the next one, it exists for single calls only."""
    USAGE_SOURCE = "usage_source"
    """The source of its tokens: a `UsageSource`."""


_TIMES = frozenset({Dimension.DAY, Dimension.HOUR})
_VALUES: Mapping[Dimension, type[StrEnum]] = {
    Dimension.OPERATION: Operation,
    Dimension.OUTCOME: Outcome,
    Dimension.USAGE_SOURCE: UsageSource,
}
"""Dimensions whose values are words of ours."""
SUM_DIMENSIONS = frozenset(Dimension) - {Dimension.OUTCOME, Dimension.USAGE_SOURCE}
"""Dimensions that group and filter sums. Those of time only group."""

Filter = tuple[tuple[Dimension, str], ...]
"""All pairs must hold."""


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Selects sums."""

    group_by: tuple[Dimension, ...]
    filter: Filter
    start_ms: int | None
    end_ms: int | None
    """Exclusive."""


@dataclass(frozen=True, slots=True)
class CallQuery:
    """Selects calls and their order."""

    filter: Filter = ()
    start_ms: int | None = None
    end_ms: int | None = None
    """Exclusive."""
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class UsageSums:
    """Sums of one group."""

    values: tuple[str, ...]
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    unpriced_calls: int
    retries: int
    """Calls in which an SDK repeated an earlier one."""


def check_group_by(dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
    """Returns the dimensions of a query.

    Raises:
        InvalidInput: one comes twice.
    """
    if len(set(dimensions)) < len(dimensions):
        raise InvalidInput("group_by", "a dimension comes twice")
    return dimensions


def parse_filter(text: str, known: Collection[Dimension] = frozenset(Dimension)) -> Filter:
    """Reads "field=value" pairs joined by commas.

    Raises:
        InvalidInput: a pair has another form, its field is not among the `known`, or the field has no such value.
    """
    if not text.strip():
        return ()
    pairs = text.split(",")
    if len(pairs) > _MOST_PAIRS:
        raise InvalidInput("filter", f"more than {_MOST_PAIRS} pairs")
    return tuple(_pair(pair, known) for pair in pairs)


def confine(selection: Filter, actor: Actor) -> Filter:
    """Narrows a filter to the actor's team, if the actor is confined to one.

    Raises:
        PermissionDenied: the filter asks for another team.
    """
    if not actor.team:
        return selection
    for dimension, value in selection:
        if dimension is Dimension.TEAM and value != actor.team:
            raise PermissionDenied(
                f"admin token {actor.name} is for team {actor.team}: for others the platform and finance roles may ask"
            )
    return (*selection, (Dimension.TEAM, actor.team))


def _pair(text: str, known: Collection[Dimension]) -> tuple[Dimension, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput("filter", f"{text[:80]!r} is not a pair: write field=value")
    dimension, value = _dimension("filter", name.strip(), known), value.strip()
    if dimension in _TIMES:
        raise InvalidInput("filter", f"{dimension} cannot be filtered by: give start_time and end_time")
    values = _VALUES.get(dimension)
    if values is not None and value not in set(values):
        raise InvalidInput("filter", f"{value[:80]!r} is no {dimension}: those are {', '.join(values)}")
    return dimension, value


def _dimension(field: str, name: str, known: Collection[Dimension]) -> Dimension:
    if name not in known:
        raise InvalidInput(field, f"{name[:80]!r} is none of {', '.join(each for each in Dimension if each in known)}")
    return Dimension(name)
