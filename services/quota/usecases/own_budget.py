"""Shows the holder of a key, and nobody else, what is left. This is free and works with a used-up budget."""

from __future__ import annotations

from services.kernel.clock import Clock
from services.kernel.errors import Unavailable
from services.kernel.scope import Dimension
from services.quota.domain.admission.decision import used_basis_points
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Deny
from services.quota.ports.counters import Counters
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.limit_levels import LimitLevel, read_limit_levels
from services.quota.usecases.live import Snapshot

_ANY_MODEL = ""


class ReadOwnBudget:
    """Lists the limits that apply to a key, whichever model it asks for."""

    def __init__(self, *, authenticate: Authenticate, counters: Counters, clock: Clock) -> None:
        self._authenticate = authenticate
        self._counters = counters
        self._clock = clock

    def __call__(self, credential: str, run: str = "") -> tuple[LimitLevel, ...] | Deny:
        """The enforced limits of the key that `credential` opens, tightest first.

        `run`: the run whose limits to include. The list leaves out a limit on the cost of one call, because it keeps no
        total.
        """
        caller = self._authenticate(credential)
        if isinstance(caller, Deny):
            return caller
        key, snapshot = caller
        now_ms = self._clock.now_ms()
        applied = [
            snapshot.directory.limits_for(key.attribution, model, now_ms, run) for model in _models(snapshot, key)
        ]
        try:
            found = read_limit_levels(self._counters, applied)
        except Unavailable as error:
            return Deny.unavailable(str(error))
        own = [each for each in found if each.limit.enforced and each.limit.kind.has_counter]
        return tuple(sorted(own, key=_tightness, reverse=True))


def _models(snapshot: Snapshot, key: VirtualKey) -> list[str]:
    """The models whose limits may differ. One model stands for all if no policy looks at the model."""
    policies = snapshot.directory.directory.policies
    if not any(policy.match.model or policy.each is Dimension.MODEL for policy in policies):
        return [_ANY_MODEL]
    return [model for model in snapshot.routes.plan.models if key.may_use(model)]


def _tightness(own: LimitLevel) -> tuple[int, int]:
    return used_basis_points(own.limit, sum(own.level)), own.limit.window_end_ms
