"""Switches: another slot begins to lead a model in place of its choice, or the choice leads again.

What was noted of a tier is compared with its present lead. So whatever changes the lead, attempts or an operator, makes
one switch for each change, and a comparison that comes again makes none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.envoy_contract import LeadReason
from services.router.domain.health import Figure
from services.router.domain.lead import targets_in
from services.router.domain.model import ChainSlot, Measure
from services.router.domain.plan import ModelPlan, Tier


class Direction(StrEnum):
    """Away from a slot, or back to it."""

    LEFT = "left"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of who leads a model."""

    model: str
    from_basis_points: int
    """The tier; if several change at once, the lowest."""
    came_from: ChainSlot
    """The slot that led before."""
    goes_to: ChainSlot
    """The slot that leads now."""
    reason: LeadReason
    """Why the model's choice was left."""
    figures: tuple[Figure, ...]
    """What the terms saw when it was left."""
    time_ms: int
    direction: Direction

    @property
    def evidence(self) -> str:
        """What was seen when the choice was left. Empty if the reason says it all."""
        return "; ".join(map(describe, self.figures))

    def __str__(self) -> str:
        """A line for the log."""
        now, before = name_of(self.goes_to), name_of(self.came_from)
        if self.direction is Direction.RETURNED:
            return f"model {self.model}: {now} leads again, after {before}"
        return f"model {self.model}: {now} leads instead of {before}: {self.evidence or _REASONS[self.reason]}"


@dataclass(frozen=True, slots=True)
class NamedSwitch:
    """A switch with the id under which it is reported, however often that takes."""

    id: str
    switch: Switch


_REASONS = {
    LeadReason.BUDGET: "so much of the budget is used",
    LeadReason.ERRORS: "attempts at it fail",
    LeadReason.LATENCY: "attempts at it take too long",
    LeadReason.RETRY_AFTER: "its provider asked to stay away for a while",
    LeadReason.DRAINED: "an operator took it out",
}


Place = tuple[str, int]
"""A model, and where one of its tiers begins."""


@dataclass(frozen=True, slots=True)
class NotedLead:
    """A tier in which another slot than its choice leads, as it was noted last."""

    model: str
    from_basis_points: int
    leader: ChainSlot
    reason: LeadReason
    figures: tuple[Figure, ...]

    @property
    def place(self) -> Place:
        """The tier."""
        return self.model, self.from_basis_points


def describe(figure: Figure) -> str:
    """What a term saw, in words."""
    term = figure.term
    if term.measure is Measure.ERROR_RATE:
        return f"{figure.bad} of {figure.attempts} attempts failed within {term.over_seconds} s"
    what = "" if term.measure is Measure.LATENCY_P95 else " to the first byte"
    seconds = f"{term.bound / 1_000:g} s"
    return f"{figure.bad} of {figure.attempts} attempts took {seconds} or longer{what} within {term.over_seconds} s"


def name_of(slot: ChainSlot) -> str:
    """The targets of a slot."""
    return " | ".join(one.target for one in slot.targets)


def noted_leads(plans: Iterable[ModelPlan], noted: Mapping[Place, NotedLead]) -> dict[Place, NotedLead]:
    """Returns the tiers in which another slot than the choice leads now.

    A model without any tier keeps what was noted of it: nobody leads it.
    """
    leads: dict[Place, NotedLead] = {}
    without_tiers: set[str] = set()
    for plan in plans:
        for tier in plan.tiers:
            displaced = tier.displaced
            if displaced is not None:
                place = plan.model, tier.from_basis_points
                leads[place] = NotedLead(*place, tier.chain[0], displaced.reason, displaced.figures)
        if not plan.tiers:
            without_tiers.add(plan.model)
    return leads | {place: lead for place, lead in noted.items() if lead.model in without_tiers}


def switches_between(
    noted: Mapping[Place, NotedLead], leads: Mapping[Place, NotedLead], plans: Collection[ModelPlan], now_ms: int
) -> Iterator[Switch]:
    """Yields what changed since it was noted. If several tiers of a model change in the same way, only the lowest."""
    for plan in plans:
        told: set[tuple[Direction, frozenset[str], frozenset[str]]] = set()
        for tier in plan.tiers:
            place = plan.model, tier.from_basis_points
            before, now = noted.get(place), leads.get(place)
            switch = _switch(plan.model, tier, before, now, now_ms) if before or now else None
            if switch is None:
                continue
            change = switch.direction, targets_in(switch.came_from), targets_in(switch.goes_to)
            if change not in told:
                told.add(change)
                yield switch


def _switch(model: str, tier: Tier, before: NotedLead | None, now: NotedLead | None, now_ms: int) -> Switch | None:
    leader, threshold = tier.chain[0], tier.from_basis_points
    if now is None and before is not None:
        figures, reason = before.figures, before.reason
        return Switch(model, threshold, before.leader, leader, reason, figures, now_ms, Direction.RETURNED)
    if now is None or tier.displaced is None:
        return None
    if before is not None and not targets_in(before.leader).isdisjoint(targets_in(leader)):
        return None
    came_from = before.leader if before is not None else tier.displaced.slot
    return Switch(model, threshold, came_from, leader, now.reason, now.figures, now_ms, Direction.LEFT)
