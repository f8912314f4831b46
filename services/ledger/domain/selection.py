"""Which calls a question is about: dimensions, filters and ranges of time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.change import Actor
from services.kernel.errors import InvalidInput, PermissionDenied

_MOST_PAIRS = 16


class Dimension(StrEnum):
    """By what calls are told apart."""

    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    KEY = "key"
    MODEL = "model"
    """As the client asked."""
    MODEL_SERVED = "model_served"
    """ "provider/model" that answered."""
    PROVIDER = "provider"
    STATUS = "status"
    """Class: "2xx"; "none" when the client was sent none."""
    DAY = "day"
    """Of UTC."""
    HOUR = "hour"
    """Of UTC."""


FILTERABLE = frozenset(Dimension) - {Dimension.DAY, Dimension.HOUR}

Filter = tuple[tuple[Dimension, str], ...]
"""All pairs must hold."""


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which sums."""

    group_by: tuple[Dimension, ...]
    filter: Filter
    start_ms: int | None
    end_ms: int | None
    """Exclusive."""


@dataclass(frozen=True, slots=True)
class CallQuery:
    """Which calls, in which order."""

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
    """Of the calls: those by which an SDK repeated an earlier one."""


def parse_group_by(names: list[str]) -> tuple[Dimension, ...]:
    """Reads the dimensions of a query.

    Raises:
        InvalidInput: a name is unknown or comes twice.
    """
    dimensions = tuple(_dimension(f"group_by[{at}]", name) for at, name in enumerate(names))
    if len(set(dimensions)) < len(dimensions):
        raise InvalidInput("group_by", "a dimension comes twice")
    return dimensions


def parse_filter(text: str) -> Filter:
    """Reads "field=value" pairs joined by commas.

    Raises:
        InvalidInput: not of that form, or a field is unknown.
    """
    if not text.strip():
        return ()
    pairs = text.split(",")
    if len(pairs) > _MOST_PAIRS:
        raise InvalidInput("filter", f"more than {_MOST_PAIRS} pairs")
    return tuple(_pair(pair) for pair in pairs)


def confine(selection: Filter, actor: Actor) -> Filter:
    """The same, of the actor's team alone if it is confined to one.

    Raises:
        PermissionDenied: another team is asked for.
    """
    if not actor.team:
        return selection
    for dimension, value in selection:
        if dimension is Dimension.TEAM and value != actor.team:
            raise PermissionDenied(
                f"admin token {actor.name} is for team {actor.team}: for others the platform and finance roles may ask"
            )
    return (*selection, (Dimension.TEAM, actor.team))


def _pair(text: str) -> tuple[Dimension, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput("filter", f"{text[:80]!r} is not a pair: write field=value")
    dimension = _dimension("filter", name.strip())
    if dimension not in FILTERABLE:
        raise InvalidInput("filter", f"{dimension} cannot be filtered by: give start_time and end_time")
    return dimension, value.strip()


def _dimension(field: str, name: str) -> Dimension:
    try:
        return Dimension(name)
    except ValueError as error:
        raise InvalidInput(field, f"{name[:80]!r} is none of {', '.join(Dimension)}") from error
