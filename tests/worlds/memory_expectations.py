"""What recent calls typically took, in memory, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.admission.unmeasured import NOTHING_TAUGHT, Guide, Taught


class MemoryExpectations:
    """`ports.Expectations`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Taught] = {}
        self._models: dict[str, Taught] = {}

    def get(self, key_id: str, model: str) -> Tokens | None:
        """The typical tokens of such a call; None if they are unknown."""
        return self._known.get((key_id, model), NOTHING_TAUGHT).typical

    def guide(self, key_id: str, model: str) -> Guide:
        """The knowledge on which the estimate of an unmeasured call rests."""
        return Guide.of(self._known.get((key_id, model)), self._models.get(model))

    def learn(self, samples: Sequence[UsageSample]) -> None:
        """Learns from calls."""
        for sample in samples:
            pair = (sample.key_id, sample.model)
            self._known[pair] = self._known.get(pair, NOTHING_TAUGHT).after(sample)
            self._models[sample.model] = self._models.get(sample.model, NOTHING_TAUGHT).after(sample)
