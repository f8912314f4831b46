"""What happened when another slot began to lead a model because of health, and when the first one led again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.envoy_contract import LeadReason
from services.router.domain.health import Figure
from services.router.domain.model import ChainSlot, Measure
from services.router.domain.plan import ModelPlan, Tier


class Direction(StrEnum):
    """Away from a slot, or back to it."""

    LEFT = "left"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of who leads a model because of health."""

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

    def __str__(self) -> str:
        """A line for the log."""
        now, before = name_of(self.goes_to), name_of(self.came_from)
        if self.direction is Direction.RETURNED:
            return f"model {self.model}: {now} leads again, after {before}: it serves well"
        return f"model {self.model}: {now} leads instead of {before}: {'; '.join(map(describe, self.figures))}"


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


def switch_of(plan: ModelPlan, before: Tier, after: Tier, now_ms: int) -> Switch:
    """Returns the switch of a model whose lead changed."""
    is_back = len(after.probes) < len(before.probes)
    left = (before if is_back else after).probes[-1].left
    return Switch(
        model=plan.model,
        from_basis_points=after.from_basis_points,
        came_from=before.chain[0] if is_back else after.probes[-1].slot,
        goes_to=after.chain[0],
        reason=left.reason,
        figures=left.figures,
        time_ms=now_ms,
        direction=Direction.RETURNED if is_back else Direction.LEFT,
    )


def changes_of_lead(before: Sequence[ModelPlan], after: Sequence[ModelPlan]) -> Iterator[tuple[ModelPlan, Tier, Tier]]:
    """Yields each model in which a slot was left or leads again, with its lowest such tier before and after."""
    known = {plan.model: {tier.from_basis_points: tier for tier in plan.tiers} for plan in before}
    for plan in after:
        for tier in plan.tiers:
            old = known.get(plan.model, {}).get(tier.from_basis_points)
            if old is not None and len(old.probes) != len(tier.probes):
                yield plan, old, tier
                break
