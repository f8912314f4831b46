"""Watches the health of targets, and says what the plan must know of it."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.clock import Clock
from services.router.domain.attempt import Attempt
from services.router.domain.health import Left, Watch, Watched
from services.router.domain.plan import TargetStates

_MAX_WATCHES = 20_000
_MAX_OUT = 4_096


@dataclass(slots=True)
class _Known:
    """A slot under one condition."""

    watch: Watch
    is_used: bool = True
    """The plan asked for it when it was last made."""


class TargetHealth:
    """The watches, and the targets whose provider asked to stay away. `changed` is set when a plan would differ."""

    def __init__(self, clock: Clock) -> None:
        self.changed = False
        self._clock = clock
        self._watches: dict[Watched, _Known] = {}
        self._by_target: dict[str, list[Watch]] = {}
        self._out_until_ms: dict[str, int] = {}

    def observe(self, attempt: Attempt) -> None:
        """Takes an attempt."""
        now_ms = self._clock.now_ms()
        if attempt.retry_after_ms:
            self._take_out(attempt.target, now_ms + attempt.retry_after_ms)
        for watch in self._by_target.get(attempt.target, ()):
            before = watch.left
            watch.observe(attempt, now_ms)
            self.changed = self.changed or watch.left is not before

    def tick(self) -> None:
        """Lets targets in again whose time is over."""
        now_ms = self._clock.now_ms()
        for target in [target for target, until_ms in self._out_until_ms.items() if until_ms <= now_ms]:
            del self._out_until_ms[target]
            self.changed = True

    def begin_plan(self, drained: frozenset[str]) -> TargetStates:
        """Returns the states of targets for a new plan."""
        for known in self._watches.values():
            known.is_used = False
        return TargetStates(self._look, frozenset(self._out_until_ms), drained)

    def plan_made(self) -> None:
        """Notes that the last plan is the one to be followed."""
        self.changed = False

    def forget_unused(self) -> None:
        """Forgets the watches that the last plan did not ask for: the configuration no longer names them."""
        self._watches = {watched: known for watched, known in self._watches.items() if known.is_used}
        self._by_target = {}
        for watched, known in self._watches.items():
            self._index(watched, known.watch)

    def out_until_ms(self, target: str) -> int | None:
        """Until when a target takes no call because its provider asked for it."""
        return self._out_until_ms.get(target)

    def _take_out(self, target: str, until_ms: int) -> None:
        if target not in self._out_until_ms:
            if len(self._out_until_ms) >= _MAX_OUT:
                return
            self.changed = True
        self._out_until_ms[target] = max(until_ms, self._out_until_ms.get(target, 0))

    def _look(self, watched: Watched) -> Left | None:
        known = self._watches.get(watched)
        if known is None:
            if len(self._watches) >= _MAX_WATCHES:
                return None
            known = self._watches[watched] = _Known(Watch(watched))
            self._index(watched, known.watch)
        known.is_used = True
        return known.watch.left

    def _index(self, watched: Watched, watch: Watch) -> None:
        for target in watched.targets:
            self._by_target.setdefault(target, []).append(watch)
