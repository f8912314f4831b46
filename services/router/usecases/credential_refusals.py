"""Notes which providers refuse the gateway's credential. In memory: after a restart, the next call tells again.

Envoy's log of attempts feeds it. 401 says that a credential is not valid. 403 says that it may not do what was asked,
which may be about one model only; so a call that the provider served ends either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.clock import Clock
from services.router.domain.attempt import Attempt, Outcome

REFUSED = frozenset({401, 403})
_MAX_PROVIDERS = 1_024


@dataclass(frozen=True, slots=True)
class CredentialRefusal:
    """A provider's refusals since it last served a call."""

    status: int
    """Of the latest one."""
    attempts: int
    first_ms: int
    last_ms: int


class CredentialRefusals:
    """The providers that refuse their credential now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, CredentialRefusal] = {}

    def observe(self, attempt: Attempt) -> None:
        """Takes an attempt. Providers beyond a bound are not noted."""
        provider = attempt.target.partition("/")[0]
        if attempt.outcome is Outcome.SERVED:
            self._refused.pop(provider, None)
        elif attempt.status in REFUSED:
            now_ms = self._clock.now_ms()
            known = self._refused.get(provider)
            if known is not None:
                again = replace(known, status=attempt.status, attempts=known.attempts + 1, last_ms=now_ms)
                self._refused[provider] = again
            elif len(self._refused) < _MAX_PROVIDERS:
                self._refused[provider] = CredentialRefusal(attempt.status, 1, now_ms, now_ms)

    def of(self, provider: str) -> CredentialRefusal | None:
        """Returns the refusals of a provider; None if it refused nothing since it last served a call."""
        return self._refused.get(provider)
