"""Stores for what recent calls teach about later ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import Guide


class Expectations(Protocol):
    """What recent calls of a key for a model typically took. Bounded, and safe to call from any thread."""

    def get(self, key_id: str, model: str) -> Tokens | None:
        """The typical tokens of such a call; None if they are unknown."""
        ...

    def guide(self, key_id: str, model: str) -> Guide:
        """The knowledge on which the estimate of an unmeasured call rests."""
        ...

    def learn(self, samples: Sequence[UsageSample]) -> None:
        """Learns from calls."""
        ...


class KeyRates(Protocol):
    """What keys typically spend in a minute. Bounded, and safe to call from any thread."""

    def typical_nano_usd(self, key_id: str) -> int:
        """The key's typical spend in a minute with calls; 0 if it is unknown."""
        ...

    def add(self, spent: Sequence[tuple[str, int, int]]) -> None:
        """Adds calls, each as key id, cost in nano-USD and time of its end in milliseconds."""
        ...
