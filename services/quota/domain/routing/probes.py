"""Probes: single calls that try a slot which is not well, so that the router learns when it is well again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

_MAX_SLOTS = 4_096


class Probed(Protocol):
    """A slot that calls may try."""

    @property
    def slot(self) -> tuple[str, ...]:
        """The targets of the slot, by name."""
        ...

    @property
    def every_ms(self) -> int:
        """At most one call in this time may try it."""
        ...


class Probes:
    """Gives each slot at most one call in its interval, whatever the model and the plan. Safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By slot: when its last turn was, and whose.
        self._turns: dict[tuple[str, ...], tuple[int, object]] = {}

    def turn(self, probes: Sequence[Probed], now_ms: int, asker: object) -> int | None:
        """Returns the index of the first slot that `asker` may try now; None if it is nobody's turn.

        The same asker may ask again: a decision that is repeated has the same turn.
        """
        with self._lock:
            for index, probe in enumerate(probes):
                last_ms, holder = self._turns.get(probe.slot, (0, None))
                if holder is asker:
                    return index
                # A clock that was set back does not stop probes.
                if not last_ms <= now_ms < last_ms + probe.every_ms:
                    if len(self._turns) >= _MAX_SLOTS:
                        self._turns.clear()
                    self._turns[probe.slot] = now_ms, asker
                    return index
        return None
