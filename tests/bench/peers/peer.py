"""What another gateway is to the bench."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.gateways import Gateway


@dataclass(frozen=True, slots=True)
class Enforces:
    """What a gateway does for each of the measured calls, so that nobody compares the cost of doing less."""

    keys: str
    budgets: str
    durable: str
    """What is on disk before the call is let through, and what a crash loses."""
    traces: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that is compared."""

    gateway: Gateway
    version: str
    enforces: Enforces
    remarks: str = ""
    """What a reader must know to judge its figures fairly."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A gateway that could not be measured here."""

    name: str
    why: str


OURS = Enforces(
    keys="virtual keys",
    budgets="three policies, four limits, reserved before the call, never overspent",
    durable="the reservation before the call; a killed process loses nothing",
    traces="of every call",
)
NOTHING = Enforces("-", "-", "-", "-")
