"""Models, as clients ask for them: an ordered list of targets, and the fallbacks that follow or replace them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from services.kernel.envoy_contract import MAX_STREAM_S
from services.kernel.errors import InvalidInput
from services.kernel.names import check_model, check_name, split_target

DEFAULT_FIRST_BYTE_TIMEOUT_MS = 120_000
# By default no request lives longer, so a longer wait would never end.
_MAX_TIMEOUT_MS = MAX_STREAM_S * 1_000
_MAX_WEIGHT = 1_000
_MAX_BASIS_POINTS = 10_000
_MAX_OVER_SECONDS = 3_600
_MAX_TERMS = 16
_MAX_ALIASES = 32
MAX_TARGETS = 16
"""Targets of one model including fallbacks: the longest chain that one request can try."""


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    """One of several targets that share the calls."""

    target: str
    """"provider/model"."""
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ChainSlot:
    """A slot of a chain: one target, or several that share the calls by weight."""

    targets: tuple[WeightedTarget, ...]


class Measure(StrEnum):
    """The quantity in a term of a condition."""

    BUDGET_USED = "budget_used"
    """Settled part of the budget, in basis points."""
    ERROR_RATE = "error_rate"
    """Share of attempts that failed, in basis points."""
    LATENCY_P95 = "latency_p95"
    """Milliseconds to the end of the answer."""
    TTFT_P95 = "ttft_p95"
    """Milliseconds to the first byte of the answer."""


@dataclass(frozen=True, slots=True)
class Term:
    """Holds while `measure` is at or above `bound`."""

    measure: Measure
    bound: int
    """In the unit of the measure."""
    over_seconds: int = 0
    """The period that is measured. 0 for the budget, whose period is the limit's own window."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When a fallback leads. Without terms it never leads, and only follows when an attempt fails."""

    terms: tuple[Term, ...] = ()
    all_terms: bool = False
    """True: all terms must hold. False: any term suffices."""
    team: str = ""
    """It holds only for calls of this team; without terms it always does. Empty: for calls of all teams."""

    def for_team(self, team: str) -> Condition:
        """The condition as calls of this team, or of none that a model names, meet it."""
        if not self.team:
            return self
        if self.team != team:
            return NEVER
        return replace(self, team="") if self.terms else _ALWAYS

    @property
    def budget_threshold(self) -> int | None:
        """The settled part of the budget, in basis points, at which the budget alone makes the condition hold.

        None when the budget alone cannot.
        """
        bounds = [term.bound for term in self.terms if term.measure is Measure.BUDGET_USED]
        if not bounds:
            return None
        if not self.all_terms:
            return min(bounds)
        return max(bounds) if len(bounds) == len(self.terms) else None

    @property
    def health_terms(self) -> tuple[Term, ...]:
        """The terms about attempts."""
        return tuple(term for term in self.terms if term.measure is not Measure.BUDGET_USED)

    @property
    def health_threshold(self) -> int:
        """The settled part of the budget from which on terms about attempts decide: 0 unless all terms must hold."""
        bounds = [term.bound for term in self.terms if term.measure is Measure.BUDGET_USED]
        return max(bounds, default=0) if self.all_terms else 0


NEVER = Condition()
# From the first cent of the budget on, and before.
_ALWAYS = Condition((Term(Measure.BUDGET_USED, 0),))


@dataclass(frozen=True, slots=True)
class Fallback:
    """Comes next when an attempt fails, and leads while its condition holds."""

    to: tuple[ChainSlot, ...]
    when: Condition = NEVER


@dataclass(frozen=True, slots=True)
class Model:
    """A name that clients ask for, and the targets of its calls."""

    name: str
    targets: tuple[ChainSlot, ...]
    fallbacks: tuple[Fallback, ...] = ()
    first_byte_timeout_ms: int = DEFAULT_FIRST_BYTE_TIMEOUT_MS
    aliases: tuple[str, ...] = ()
    """Other names that reach it."""

    @property
    def teams(self) -> list[str]:
        """The teams that its conditions name."""
        return sorted({fallback.when.team for fallback in self.fallbacks} - {""})

    def for_team(self, team: str) -> Model:
        """The model as calls of this team, or of none that it names, meet it."""
        if not self.teams:
            return self
        fallbacks = tuple(replace(fallback, when=fallback.when.for_team(team)) for fallback in self.fallbacks)
        return replace(self, fallbacks=fallbacks)


def names_of(model: Model) -> Iterator[str]:
    """Yields the targets of a model and of its fallbacks, with repetitions."""
    for slots in (model.targets, *(fallback.to for fallback in model.fallbacks)):
        for slot in slots:
            for one in slot.targets:
                yield one.target


def check_model_route(field: str, model: Model, providers: frozenset[str]) -> Model:
    """Returns `model` if all of it is within bounds and every target names one of `providers`.

    Raises:
        InvalidInput: it is not. The field is the path within the request.
    """
    check_model(f"{field}.name", model.name)
    if not 1 <= model.first_byte_timeout_ms <= _MAX_TIMEOUT_MS:
        raise InvalidInput(f"{field}.first_byte_timeout", f"write 1 ms to {MAX_STREAM_S} s, or leave it out")
    if len(model.aliases) > _MAX_ALIASES:
        raise InvalidInput(f"{field}.aliases", f"{len(model.aliases)} are too many: at most {_MAX_ALIASES}")
    for at, alias in enumerate(model.aliases):
        check_model(f"{field}.aliases[{at}]", alias)
    if not model.targets:
        raise InvalidInput(f"{field}.targets", "a model needs at least one target: write provider/model")
    count = 0
    for path, one in _targets_of(field, model):
        provider, _ = split_target(f"{path}.target", one.target)
        if provider not in providers:
            raise InvalidInput(f"{path}.target", f"there is no provider {provider!r}: add it, or name one that exists")
        if not 1 <= one.weight <= _MAX_WEIGHT:
            raise InvalidInput(f"{path}.weight", f"write a weight from 1 to {_MAX_WEIGHT}")
        count += 1
    if count > MAX_TARGETS:
        raise InvalidInput(f"{field}.targets", f"{count} targets are too many: a chain has at most {MAX_TARGETS}")
    for at, fallback in enumerate(model.fallbacks):
        _check_condition(f"{field}.fallbacks[{at}].when", fallback.when)
    return model


def _targets_of(field: str, model: Model) -> Iterator[tuple[str, WeightedTarget]]:
    """Yields every target of the model with its path."""
    lists = [(f"{field}.targets", model.targets)]
    lists += [(f"{field}.fallbacks[{at}].to", fallback.to) for at, fallback in enumerate(model.fallbacks)]
    for path, groups in lists:
        if not groups:
            raise InvalidInput(path, "name at least one target")
        for at, group in enumerate(groups):
            if not group.targets:
                raise InvalidInput(f"{path}[{at}].targets", "name at least one target")
            for place, one in enumerate(group.targets):
                yield f"{path}[{at}].targets[{place}]", one


def _check_condition(field: str, condition: Condition) -> None:
    if condition.team:
        check_name(f"{field}.team", condition.team)
    if len(condition.terms) > _MAX_TERMS:
        raise InvalidInput(f"{field}.terms", f"at most {_MAX_TERMS} terms")
    for at, term in enumerate(condition.terms):
        _check_term(f"{field}.terms[{at}]", term)


def _check_term(field: str, term: Term) -> None:
    if term.measure in {Measure.BUDGET_USED, Measure.ERROR_RATE}:
        if not 1 <= term.bound <= _MAX_BASIS_POINTS:
            raise InvalidInput(f"{field}.{term.measure}_basis_points", "write more than 0 % and at most 100 %")
    elif not 1 <= term.bound <= _MAX_TIMEOUT_MS:
        raise InvalidInput(f"{field}.{term.measure}", f"write 1 ms to {MAX_STREAM_S} s")
    if term.measure is Measure.BUDGET_USED:
        if term.over_seconds:
            raise InvalidInput(f"{field}.period", "a budget is used over the window of its limit: leave it out")
    elif not 1 <= term.over_seconds <= _MAX_OVER_SECONDS:
        raise InvalidInput(f"{field}.period", f"write 1 to {_MAX_OVER_SECONDS} seconds")
