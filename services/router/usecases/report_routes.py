"""Reports who leads each model, and how the targets fare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.router.domain.drained import DrainedTarget
from services.router.domain.model import names_of
from services.router.domain.plan import ModelPlan
from services.router.domain.switch import Switch
from services.router.usecases.administer import Administrator
from services.router.usecases.attempt_stats import AttemptStats, TargetFigures
from services.router.usecases.credential_refusals import CredentialRefusal, CredentialRefusals
from services.router.usecases.follow_health import FollowHealth
from services.router.usecases.target_health import TargetHealth


@dataclass(frozen=True, slots=True)
class ReportedTarget:
    """One target of some model."""

    name: str
    figures: TargetFigures
    out_until_ms: int | None
    """Until when it takes no call, because its provider asked for it."""
    drained: DrainedTarget | None
    """It takes no call, because an operator took it out."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The state of all routes at one moment."""

    models: Sequence[ModelPlan]
    targets: Sequence[ReportedTarget]
    """By name."""
    switches: Sequence[Switch]
    """Newest first."""


class ReportRoutes:
    """Looks at what the other use cases know."""

    def __init__(
        self,
        administrator: Administrator,
        stats: AttemptStats,
        health: TargetHealth,
        follow: FollowHealth,
        refusals: CredentialRefusals,
    ) -> None:
        self._administrator = administrator
        self._stats = stats
        self._health = health
        self._follow = follow
        self._refusals = refusals

    def now(self) -> Routes:
        """Returns the state of all routes."""
        configured = self._administrator.configuration.models
        drained = self._administrator.drained
        names = {target for model in configured for target in names_of(model)} | drained.keys()
        targets = [
            ReportedTarget(name, self._stats.figures(name), self._health.out_until_ms(name), drained.get(name))
            for name in sorted(names)
        ]
        return Routes(self._administrator.plans, targets, tuple(reversed(self._follow.switches)))

    def credential_refusal(self, provider: str) -> CredentialRefusal | None:
        """Returns what a provider refused since it last served a call; None without any."""
        return self._refusals.of(provider)
