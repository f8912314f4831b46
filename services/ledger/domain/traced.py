"""A batch of calls, attempts and refusals from which spans are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.ledger.domain.call import SpooledAttempt, SpooledCall
from services.ledger.domain.entry import Entry
from services.ledger.domain.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Traced:
    """Requests, and parts of requests, whose spans are due. Each part names its trace, so none waits for another."""

    entries: Sequence[Entry] = ()
    attempts: Sequence[SpooledAttempt] = ()
    unanswered: Sequence[SpooledCall] = ()
    """Calls about which quota did not answer in time."""
    refusals: Sequence[Refusal] = ()

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.entries) + len(self.attempts) + len(self.unanswered) + len(self.refusals)
