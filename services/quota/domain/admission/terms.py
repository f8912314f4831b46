"""Terms: everything about the calls of a key for a model that does not change from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.kernel.dialect import Dialect
from services.quota.domain.admission.evaluate import find_route, usable_tiers
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.directory.bounded import refuse_unbounded
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Deny
from services.quota.domain.routing.compile import FitTier, Routes


class Asked(NamedTuple):
    """The kind of call that terms are for."""

    key: VirtualKey
    model: str
    dialect: Dialect
    run: str
    """The client's name for the run; empty if it names none."""


class Terms(NamedTuple):
    """The terms of one kind of call, until a window or an override of its limits ends."""

    limits: AppliedLimits
    unbounded: Deny | None
    """Why no such call may pass, whatever is in it; None if some may."""
    tiers: Sequence[FitTier] | Deny
    """The tiers that the limits can judge, or why there are none."""


def terms_of(directory: DirectorySnapshot, routes: Routes, asked: Asked, now_ms: int) -> Terms | Deny:
    """Finds the terms, or the reason why the model has no route for the key."""
    key, model, dialect, run = asked
    route = find_route(routes, key, model, dialect)
    if isinstance(route, Deny):
        return route
    limits = directory.apply(key.attribution, model, now_ms, run)
    return Terms(
        limits,
        refuse_unbounded(key, limits, model),
        usable_tiers(route, limits, routes.prices, key=key, model=model),
    )
