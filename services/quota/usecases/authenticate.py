"""Finds the key of a credential, and the models that it may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from services.kernel.clock import Clock
from services.kernel.dialect import Dialect
from services.kernel.errors import Unavailable
from services.quota.domain.identity.key import PREFIX, KeyState, VirtualKey, checksum_holds, digest_of
from services.quota.domain.policies.denial import Denial, Deny, denial_of
from services.quota.domain.routing.naming import find_model
from services.quota.usecases.live import Live, Snapshot


class AuthenticatedKey(NamedTuple):
    """A key whose secret the client presented, and the snapshot in which we found it."""

    key: VirtualKey
    snapshot: Snapshot


class Authenticate:
    """Finds the key of a credential."""

    def __init__(self, live: Live, clock: Clock, pepper: bytes, look_again: Callable[[], object] | None = None) -> None:
        """`look_again` takes over the changes of other processes; None: there are no others."""
        self._live = live
        self._clock = clock
        self._pepper = pepper
        self._look_again = look_again

    def __call__(self, credential: str) -> AuthenticatedKey | Deny:
        """The key that `credential`, the bare secret without "Bearer", opens.

        A key that another process created a moment ago works here, too: we ask the store before we call a key unknown,
        because clients take "unknown" as final.
        """
        if not credential:
            return Deny(Denial.MISSING_KEY)
        now_ms, digest = self._clock.now_ms(), digest_of(credential, self._pepper)
        caller = self._find(digest, now_ms)
        if caller is None and credential.startswith(PREFIX) and not checksum_holds(credential):
            return Deny(Denial.INVALID_KEY, detail="it is mistyped or cut off: its checksum is wrong")
        if caller is None and self._look_again is not None:
            try:
                self._look_again()
            except Unavailable as error:
                return Deny.unavailable(str(error))
            caller = self._find(digest, now_ms)
        if caller is None:
            return Deny(Denial.INVALID_KEY)
        state = caller.key.state_at(now_ms)
        denial = None if state is KeyState.ACTIVE else denial_of(state)
        return caller if denial is None else Deny(denial, key=caller.key.name)

    def _find(self, digest: bytes, now_ms: int) -> AuthenticatedKey | None:
        snapshot = self._live.snapshot
        key = snapshot.directory.keys_by_digest.get(digest)
        if key is None or not key.opened_by(digest, now_ms):
            return None
        return AuthenticatedKey(key, snapshot)


class ListModels:
    """Lists the models that a key may use. This costs nothing and works even if the budget is used up."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    def __call__(self, credential: str, dialect: Dialect) -> tuple[str, ...] | Deny:
        """Names of the models that its clients can call in this dialect now, sorted."""
        caller = self._authenticate(credential)
        return caller if isinstance(caller, Deny) else _models_of(caller, dialect)

    def one(self, credential: str, name: str, dialect: Dialect) -> str | Deny:
        """The model that `name` reaches, if it is in that list."""
        caller = self._authenticate(credential)
        if isinstance(caller, Deny):
            return caller
        model = find_model(caller.snapshot.routes.plan, name)
        return model if model in _models_of(caller, dialect) else Deny(Denial.MODEL_NOT_FOUND, model=name)


def _models_of(caller: AuthenticatedKey, dialect: Dialect) -> tuple[str, ...]:
    key, routes = caller.key, caller.snapshot.routes
    found = {
        model: routes.find(model, dialect, key.attribution.team) for model in routes.plan.models if key.may_use(model)
    }
    return tuple(sorted(model for model, route in found.items() if route is not None and route.tiers))
