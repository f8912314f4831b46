"""Terms: everything about the calls of a key for a model that does not change from call to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.directory.bounded import refuse_unbounded
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.routing.compile import FitTier, Route, Routes
from services.quota.domain.routing.plan import PriceSnapshot


class Asked(NamedTuple):
    """The kind of call that terms are for."""

    key: VirtualKey
    model: str
    dialect: Dialect
    run: str = ""
    """The client's name for the run; empty if it names none."""
    operation: Operation = Operation.CHAT


class Terms(NamedTuple):
    """The terms of one kind of call, until a window or an override of its limits ends."""

    limits: AppliedLimits
    unbounded: Deny | None
    """Why no such call may pass, whatever is in it; None if some may."""
    tiers: Sequence[FitTier] | Deny
    """The tiers that the limits can judge, or why there are none."""


def terms_of(directory: DirectorySnapshot, routes: Routes, asked: Asked, now_ms: int) -> Terms | Deny:
    """Finds the terms, or the reason why the model has no route for the key."""
    key, model, dialect, run, operation = asked
    route = find_route(routes, key, model, dialect, operation)
    if isinstance(route, Deny):
        return route
    limits = directory.apply(key.attribution, model, now_ms, run)
    return Terms(
        limits,
        refuse_unbounded(key, limits, model),
        usable_tiers(route, limits, routes.prices, key=key, model=model),
    )


def find_route(
    routes: Routes, key: VirtualKey, model: str, dialect: Dialect, operation: Operation = Operation.CHAT
) -> Route | Deny:
    """The route of a model, with at least one tier, or the reason why there is none for this key."""
    route = routes.find(model, dialect, key.attribution.team, operation)
    if not key.may_use(model):
        return Deny(Denial.MODEL_NOT_ALLOWED, model=model, key=key.name)
    if route is None:
        return Deny(Denial.MODEL_NOT_FOUND, model=model, key=key.name)
    if route.providers_without_credential:
        return Deny.without_credential(route.providers_without_credential, model=model, key=key.name)
    if route.is_drained:
        return Deny.drained(model=model, key=key.name)
    if not route.tiers:
        missing = f"none of its targets speaks the {dialect} dialect"
        if operation is not Operation.CHAT:
            missing = f"none of its targets serves {operation.replace('_', ' ')} in the {dialect} dialect"
        return Deny(Denial.NO_FIT_TARGET, missing, model=model, key=key.name)
    return route


def usable_tiers(
    route: Route, limits: AppliedLimits, prices: PriceSnapshot, *, key: VirtualKey, model: str
) -> Sequence[FitTier] | Deny:
    """The tiers of a route that these limits can judge, at least one, or the reason why there are none."""
    if not limits.needs_price:
        return route.tiers
    if not prices.version:
        return Deny.unavailable("no prices have arrived yet")
    if not route.priced_tiers:
        return Deny(Denial.UNPRICED_MODEL, "none of its targets has a price", model=model, key=key.name)
    return route.priced_tiers
