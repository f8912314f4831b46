"""Whose key is this, and which models may it see?"""

from __future__ import annotations

from services.kernel.clock import Clock
from services.quota.domain.denial import Denial, Deny
from services.quota.domain.directory import DirectorySnapshot
from services.quota.domain.key import PREFIX, VirtualKey, checksum_holds, digest_of
from services.quota.usecases.current import Current


class Authenticate:
    """Finds the key of a credential."""

    def __init__(self, current: Current, clock: Clock, pepper: bytes) -> None:
        self._current = current
        self._clock = clock
        self._pepper = pepper

    def __call__(self, credential: str) -> VirtualKey | Deny:
        """The key that `credential` opens. It is the bare secret, without "Bearer"."""
        return self.within(self._current.belief.directory, credential)

    def within(self, directory: DirectorySnapshot, credential: str) -> VirtualKey | Deny:
        """The same, looking at one picture of the directory."""
        if not credential:
            return Deny(Denial.MISSING_KEY)
        digest = digest_of(credential, self._pepper)
        key = directory.keys_by_digest.get(digest)
        now_ms = self._clock.now_ms()
        if key is None or not key.opened_by(digest, now_ms):
            mistyped = credential.startswith(PREFIX) and not checksum_holds(credential)
            return Deny(
                Denial.INVALID_KEY, detail="it is mistyped or cut: its checksum does not hold" if mistyped else ""
            )
        refusal = key.refusal_at(now_ms)
        return key if refusal is None else Deny(refusal, key=key.name)


class ListModels:
    """Lists the models that a key may use. Costs nothing and works at any budget."""

    def __init__(self, current: Current, authenticate: Authenticate) -> None:
        self._current = current
        self._authenticate = authenticate

    def __call__(self, credential: str) -> tuple[str, ...] | Deny:
        """Names of models, sorted."""
        key = self._authenticate(credential)
        if isinstance(key, Deny):
            return key
        return tuple(sorted(model for model in self._current.belief.routes.plan.models if key.may_use(model)))
