"""What recent calls teach, kept for the calls that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import Guide


class Expectations(Protocol):
    """What calls of a key for a model took lately. Bounded; may be called from any thread."""

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        ...

    def guide(self, key_id: str, model: str) -> Guide:
        """What an estimate goes by of a call that no provider measured."""
        ...

    def learn(self, samples: Sequence[UsageSample]) -> None:
        """Learns from calls."""
        ...


class KeyRates(Protocol):
    """What keys usually spend in a minute. Bounded; may be called from any thread."""

    def typical_nano_usd(self, key_id: str) -> int:
        """In a minute in which it spends at all; 0 when nothing is known."""
        ...

    def add(self, spent: Sequence[tuple[str, int, int]]) -> None:
        """Adds calls, each as key id, cost in nano-USD and the moment of its end in milliseconds."""
        ...
