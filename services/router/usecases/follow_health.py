"""Lets the plan follow the health of targets, and keeps the latest switches."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from services.router.domain.plan import ModelPlan
from services.router.domain.switch import Switch
from services.router.usecases.administer import Administrator
from services.router.usecases.attempt_log import AttemptLog
from services.router.usecases.note_switches import NoteSwitches
from services.router.usecases.target_health import TargetHealth

_MAX_SWITCHES = 100

_log = logging.getLogger("spendgate.router.health")


def _nobody(_: Switch) -> None:
    """Nobody else is told."""


class FollowHealth:
    """Called several times a second. `switches` are the latest, oldest first."""

    def __init__(
        self,
        attempts: AttemptLog,
        health: TargetHealth,
        administrator: Administrator,
        note: NoteSwitches,
        report: Callable[[Switch], None] = _nobody,
    ) -> None:
        """`report` is told of each switch once, after it is noted."""
        self.switches: deque[Switch] = deque(maxlen=_MAX_SWITCHES)
        self._attempts = attempts
        self._health = health
        self._administrator = administrator
        self._note = note
        self._report = report
        self._noted_plans: Sequence[ModelPlan] | None = None

    def __call__(self) -> None:
        """Makes a new plan if somebody else leads by now, and notes what a new plan changed, whoever made it."""
        self._attempts.tick()
        self._health.tick()
        if self._health.changed:
            self._administrator.follow_health()
        plans = self._administrator.plans
        if plans is self._noted_plans:
            return
        for switch in self._note(plans):
            _log.warning("%s", switch)
            self.switches.append(switch)
            self._report(switch)
        # Last, so that what could not be noted is noted the next time.
        self._noted_plans = plans
