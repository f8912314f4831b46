"""A target whose attempts are drawn by chance, watched second by second."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from services.router.domain.attempt import Attempt, Outcome
from services.router.domain.health import Watch, Watched
from services.router.domain.model import Measure, Term

START_MS = 1_800_000_000_000
TARGET = "lab/tiny"


def watched(*terms: Term, all_terms: bool = False) -> Watched:
    return Watched((TARGET,), terms, all_terms)


def errors(basis_points: int, over_seconds: int = 10) -> Term:
    return Term(Measure.ERROR_RATE, basis_points, over_seconds)


def latency(bound_ms: int, over_seconds: int = 10) -> Term:
    return Term(Measure.LATENCY_P95, bound_ms, over_seconds)


def ttft(bound_ms: int, over_seconds: int = 10) -> Term:
    return Term(Measure.TTFT_P95, bound_ms, over_seconds)


def attempt(now_ms: int, took_ms: int = 100, *, failed: bool = False, first_byte_ms: int | None = None) -> Attempt:
    """One that ends now."""
    outcome = Outcome.FAILED if failed else Outcome.SERVED
    return Attempt(TARGET, now_ms - took_ms, took_ms, took_ms if first_byte_ms is None else first_byte_ms, outcome)


@dataclass
class SickTarget:
    """Calls go to the target at a rate while it leads. While it is left, only probes do, as quota sends them."""

    watch: Watch
    make: Callable[[random.Random, int], Attempt]
    """Draws the attempt that ends at this moment."""
    per_second: int = 10
    draws: random.Random = field(default_factory=lambda: random.Random(0))
    now_ms: int = START_MS
    left_at_ms: list[int] = field(default_factory=list)
    returned_at_ms: list[int] = field(default_factory=list)
    last_probe_ms: int = 0

    def run(self, seconds: int) -> None:
        """Lets time pass."""
        for _ in range(seconds * self.per_second):
            self.now_ms += 1_000 // self.per_second
            left = self.watch.left
            if left is not None:
                if self.now_ms < self.last_probe_ms + left.probe_every_ms:
                    continue
                self.last_probe_ms = self.now_ms
            self.watch.observe(self.make(self.draws, self.now_ms), self.now_ms)
            if left is None and self.watch.left is not None:
                self.left_at_ms.append(self.now_ms)
            elif left is not None and self.watch.left is None:
                self.returned_at_ms.append(self.now_ms)
