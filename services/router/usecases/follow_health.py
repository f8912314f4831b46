"""Lets the plan follow the health of targets, and keeps the latest switches."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from services.router.domain.switch import Switch
from services.router.usecases.administer import Administrator
from services.router.usecases.attempt_log import AttemptLog
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
        report: Callable[[Switch], None] = _nobody,
    ) -> None:
        """`report` is told of each switch once."""
        self.switches: deque[Switch] = deque(maxlen=_MAX_SWITCHES)
        self._attempts = attempts
        self._health = health
        self._administrator = administrator
        self._report = report

    def __call__(self) -> None:
        """Makes a new plan if somebody else leads by now."""
        self._attempts.tick()
        self._health.tick()
        if not self._health.changed:
            return
        for switch in self._administrator.follow_health():
            _log.warning("%s", switch)
            self.switches.append(switch)
            self._report(switch)
