"""What calls took lately, in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.estimate import Tokens, learn


class MemoryExpectations:
    """`ports.Expectations`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Tokens] = {}

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        return self._known.get((key_id, model))

    def learn(self, taken: Sequence[tuple[str, str, Tokens]]) -> None:
        """Learns from calls."""
        for key_id, model, tokens in taken:
            self._known[key_id, model] = learn(self._known.get((key_id, model)), tokens)
