"""What calls took lately, in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.admission.learning import Lesson
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import NOTHING_TAUGHT, Guide, Taught


class MemoryExpectations:
    """`ports.Expectations`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Taught] = {}
        self._models: dict[str, Taught] = {}

    def get(self, key_id: str, model: str) -> Tokens | None:
        """What to expect; None when nothing is known."""
        return self._known.get((key_id, model), NOTHING_TAUGHT).usual

    def guide(self, key_id: str, model: str) -> Guide:
        """What an estimate goes by of a call that no provider measured."""
        return Guide.of(self._known.get((key_id, model)), self._models.get(model))

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """Learns from calls."""
        for lesson in lessons:
            pair = (lesson.key_id, lesson.model)
            self._known[pair] = self._known.get(pair, NOTHING_TAUGHT).after(lesson)
            self._models[lesson.model] = self._models.get(lesson.model, NOTHING_TAUGHT).after(lesson)
