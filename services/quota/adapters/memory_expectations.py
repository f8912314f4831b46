"""What calls took lately, in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.estimate import Lesson, Tokens, learn


class MemoryExpectations:
    """`ports.Expectations`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Tokens] = {}

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        return self._known.get((key_id, model))

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Learns from calls."""
        for lesson in lessons:
            pair = (lesson.key_id, lesson.model)
            self._known[pair] = learn(self._known.get(pair), lesson)
