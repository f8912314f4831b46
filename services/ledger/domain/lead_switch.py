"""Switches: another target began to lead a model, or the first one leads again, as the router reports it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.envoy_contract import LeadReason


class Direction(StrEnum):
    """Away from the model's choice, or back to it."""

    LEFT = "left"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class LeadSwitch:
    """One change of who leads a model."""

    id: str
    """Given by the router. A repeated report has the same."""
    time_ms: int
    model: str
    """As clients ask for it."""
    from_basis_points: int
    """The tier: it applies from this settled part of the budget on."""
    direction: Direction
    reason: LeadReason
    """Why the model's choice was left."""
    previous_targets: tuple[str, ...]
    """The targets that led before, "provider/model"; more than one if they share calls by weight."""
    targets: tuple[str, ...]
    """Those that lead since."""
    evidence: str
    """What was seen when the choice was left, as a clause. Empty if the reason says it all."""
    router: str = ""
    """The router that saw it. Empty: it did not say."""


def is_same(switch: LeadSwitch, last: LeadSwitch) -> bool:
    """Whether two routers saw one switch: `last` is what people were told last of this tier.

    Routers agree some seconds apart, each from what it sees. The first that says who leads makes the news, until
    somebody says otherwise. One router never says the same twice, unless it is news.
    """
    if not (switch.router and last.router) or switch.router == last.router:
        return False
    return (switch.direction, set(switch.targets)) == (last.direction, set(last.targets))


@dataclass(frozen=True, slots=True)
class SwitchAlert:
    """A switch, whom to tell of it, and the state of its delivery."""

    sequence: int
    """Ascending in the order of reports."""
    switch: LeadSwitch
    notify: tuple[str, ...]
    """Names of channels."""
    delivered_ms: int | None

    @property
    def position(self) -> tuple[int, int, int]:
        """Its place among all alerts; see `services.ledger.ports.AlertPosition`."""
        return self.switch.time_ms, 1, self.sequence
