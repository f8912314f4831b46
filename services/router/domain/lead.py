"""Who leads a tier at the moment: its own choice, or another slot in place of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.kernel.envoy_contract import LeadReason
from services.router.domain.health import Figure, Left, Watched
from services.router.domain.model import ChainSlot


@dataclass(frozen=True, slots=True)
class Probe:
    """A slot that single calls try, to find out whether it is well again."""

    slot: ChainSlot
    left: Left
    """Why it does not lead."""
    tried: ChainSlot
    """Its targets that take calls at the moment. Without any, no call tries it."""


@dataclass(frozen=True, slots=True)
class TargetStates:
    """What is known about targets and slots at the moment."""

    look: Callable[[Watched], Left | None] = lambda _: None
    """Whether a slot is left. The plan asks for every slot that matters to it."""
    out: frozenset[str] = frozenset()
    """Targets that take no call for now. A chain that would be empty without them keeps them."""
    out_for_long: frozenset[str] = frozenset()
    """Those of them that are worth a word. A provider that asks for seconds, again and again, makes no news."""
    drained: frozenset[str] = frozenset()
    """Targets that an operator took out."""


ALL_WELL = TargetStates()


@dataclass(frozen=True, slots=True)
class Displaced:
    """The slot that would lead a tier if all targets took calls and were well. Its absence is worth a word."""

    slot: ChainSlot
    reason: LeadReason
    """Why it does not lead."""
    figures: tuple[Figure, ...] = ()
    """What the terms saw when it was left. Empty unless attempts are the reason."""


def displaced_by(
    choice: ChainSlot, leader: ChainSlot, probes: Sequence[Probe], states: TargetStates
) -> Displaced | None:
    """Returns a tier's choice if none of its targets leads and that is worth a word, else None.

    A slot of several targets still leads while one of them does.
    """
    chosen = targets_in(choice)
    if not chosen.isdisjoint(targets_in(leader)):
        return None
    if chosen <= states.drained:
        return Displaced(choice, LeadReason.DRAINED)
    for probe in probes:
        if not chosen.isdisjoint(targets_in(probe.slot)):
            return Displaced(choice, probe.left.reason, probe.left.figures)
    return None if chosen.isdisjoint(states.out_for_long) else Displaced(choice, LeadReason.RETRY_AFTER)


def targets_in(slot: ChainSlot) -> frozenset[str]:
    """Returns the names of the targets of a slot."""
    return frozenset(one.target for one in slot.targets)
