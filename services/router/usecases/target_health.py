"""Watches the health of targets, and says what the plan must know of it."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.clock import Clock
from services.router.domain.attempt import Attempt
from services.router.domain.health import HealthMemory, Left, LeftSlot, OutTarget, Watch, Watched
from services.router.domain.lead import TargetStates

_MAX_WATCHES = 20_000
_MAX_OUT = 4_096
# From here on people are told that a provider asked for it.
_LONG_MS = 60_000


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
        self._out: dict[str, OutTarget] = {}

    def resume(self, memory: HealthMemory) -> None:
        """Goes on where the last process stopped."""
        now_ms = self._clock.now_ms()
        for slot in memory.left[:_MAX_WATCHES]:
            watch = self._watch(slot.watched)
            watch.resume(slot, now_ms)
        self._out = {one.name: one for one in memory.out[:_MAX_OUT]}

    @property
    def memory(self) -> HealthMemory:
        """What `resume` needs."""
        left = tuple(
            LeftSlot(watched, known.watch.left, known.watch.left_at_ms)
            for watched, known in self._watches.items()
            if known.watch.left is not None
        )
        return HealthMemory(left, tuple(self._out.values()))

    def observe(self, attempt: Attempt) -> None:
        """Takes an attempt."""
        now_ms = self._clock.now_ms()
        if attempt.retry_after_ms:
            self._take_out(attempt.target, attempt.retry_after_ms, now_ms)
        for watch in self._by_target.get(attempt.target, ()):
            before = watch.left
            watch.observe(attempt, now_ms)
            self.changed = self.changed or watch.left is not before

    def tick(self) -> None:
        """Lets targets in again whose time is over."""
        now_ms = self._clock.now_ms()
        for one in [one for one in self._out.values() if one.until_ms <= now_ms]:
            del self._out[one.name]
            self.changed = True

    def begin_plan(self, drained: frozenset[str]) -> TargetStates:
        """Returns the states of targets for a new plan."""
        for known in self._watches.values():
            known.is_used = False
        for_long = frozenset(one.name for one in self._out.values() if one.is_for_long)
        return TargetStates(self._look, frozenset(self._out), for_long, drained)

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
        one = self._out.get(target)
        return one.until_ms if one is not None else None

    def _take_out(self, target: str, for_ms: int, now_ms: int) -> None:
        known = self._out.get(target)
        if known is None and len(self._out) >= _MAX_OUT:
            return
        if known is not None and known.until_ms >= now_ms + for_ms:
            return
        is_for_long = for_ms >= _LONG_MS or (known is not None and known.is_for_long)
        if known is None or known.is_for_long != is_for_long:
            self.changed = True
        self._out[target] = OutTarget(target, now_ms + for_ms, is_for_long)

    def _look(self, watched: Watched) -> Left | None:
        if watched not in self._watches and len(self._watches) >= _MAX_WATCHES:
            return None
        watch = self._watch(watched)
        self._watches[watched].is_used = True
        return watch.left

    def _watch(self, watched: Watched) -> Watch:
        known = self._watches.get(watched)
        if known is None:
            known = self._watches[watched] = _Known(Watch(watched))
            self._index(watched, known.watch)
        return known.watch

    def _index(self, watched: Watched, watch: Watch) -> None:
        for target in watched.targets:
            self._by_target.setdefault(target, []).append(watch)
