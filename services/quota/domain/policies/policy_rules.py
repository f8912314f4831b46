"""The rules that a policy must meet before we can enforce it."""

from __future__ import annotations

from services.kernel.errors import InvalidInput
from services.kernel.names import check_model, check_name, check_user
from services.kernel.scope import Dimension
from services.kernel.window import MAX_ROLLING_MS, ROLLING_STEP_MS, Weekday, WindowUnit, load_timezone
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.limit_id import MAX_COUNT, MAX_SPEND_NANO_USD
from services.quota.domain.policies.policy import (
    MAX_BASIS_POINTS,
    PAYMENT_REQUIRED,
    TOO_MANY_REQUESTS,
    Match,
    QuotaPolicy,
    Threshold,
)

MAX_LIMITS = 16
MAX_THRESHOLDS = 16
_MAX_ANCHOR_DAY = 31
MIN_FACTOR_PERCENT = 200
MAX_FACTOR_PERCENT = 100_000


def check_policy(field: str, policy: QuotaPolicy) -> QuotaPolicy:
    """Returns `policy` if it meets the rules.

    Raises:
        InvalidInput: it does not. The error names a path below `field`, e.g. "policies[2]".
    """
    check_name(f"{field}.name", policy.name)
    _check_match(f"{field}.match", policy.match)
    if not 1 <= len(policy.limits) <= MAX_LIMITS:
        raise InvalidInput(f"{field}.limits", f"a policy has 1 to {MAX_LIMITS} limits, not {len(policy.limits)}")
    seen: set[str] = set()
    for at, limit in enumerate(policy.limits):
        _check_limit(f"{field}.limits[{at}]", limit)
        if limit.limit_id in seen:
            raise InvalidInput(f"{field}.limits[{at}]", f"a second limit of {limit.title}: keep one")
        seen.add(limit.limit_id)
    _check_thresholds(f"{field}.thresholds", policy.thresholds)
    if policy.exhausted_status not in {TOO_MANY_REQUESTS, PAYMENT_REQUIRED}:
        raise InvalidInput(f"{field}.exhausted_status", "must be 429 or 402")
    if not 0 <= policy.allowance_nano_usd <= MAX_SPEND_NANO_USD:
        raise InvalidInput(f"{field}.store_failure_allowance", "must be 0 to 9000000 dollars")
    return policy


def _check_match(field: str, match: Match) -> None:
    for dimension in Dimension:
        value = getattr(match, dimension)
        if not value:
            continue
        path = f"{field}.{dimension}"
        if dimension is Dimension.USER:
            check_user(path, value)
        elif dimension is Dimension.MODEL:
            check_model(path, value)
        else:
            check_name(path, value)


def _check_limit(field: str, limit: Limit) -> None:
    try:
        load_timezone(limit.timezone)
    except ValueError as error:
        raise InvalidInput(f"{field}.time_zone", str(error)) from error
    _check_window(field, limit)
    if limit.soft and not (limit.kind.is_of_size and limit.kind.has_window):
        raise InvalidInput(f"{field}.bound", f"a limit of {limit.kind} is always exact: remove `bound: soft`")
    if limit.kind.is_money:
        if not 0 <= limit.bound <= MAX_SPEND_NANO_USD:
            raise InvalidInput(f"{field}.amount", "must be 0 to 9000000 dollars: split a larger budget by team")
    elif not 0 <= limit.bound <= MAX_COUNT:
        raise InvalidInput(f"{field}.count", f"must be 0 to {MAX_COUNT}")


def _check_window(field: str, limit: Limit) -> None:
    if not limit.kind.has_window and limit.per is not WindowUnit.LIFETIME:
        raise InvalidInput(f"{field}.per", f"a limit of {limit.kind} has no window: remove it")
    if limit.kind.follows_key != (limit.factor_percent > 0):
        raise InvalidInput(f"{field}.factor_percent", "a burn rate needs a factor, and no other limit has one")
    if limit.kind.follows_key and limit.bound == 0:
        raise InvalidInput(f"{field}.amount", "must be above 0: it is the floor of the typical spend in a minute")
    if limit.factor_percent and not MIN_FACTOR_PERCENT <= limit.factor_percent <= MAX_FACTOR_PERCENT:
        raise InvalidInput(f"{field}.factor_percent", "must be 2 to 1000 times the typical spend")
    if not 1 <= limit.anchor_day <= _MAX_ANCHOR_DAY:
        raise InvalidInput(f"{field}.anchor_day", "must be a day of the month, 1 to 31")
    if limit.anchor_day != 1 and limit.per is not WindowUnit.MONTH:
        raise InvalidInput(f"{field}.anchor_day", "only a window of a month has an anchor day")
    if limit.week_start is not Weekday.MONDAY and limit.per is not WindowUnit.WEEK:
        raise InvalidInput(f"{field}.week_start", "only a window of a week has a first day")
    if (limit.per is WindowUnit.ROLLING) != (limit.rolling_ms > 0):
        raise InvalidInput(f"{field}.rolling_period", "a rolling window needs a length, and no other window has one")
    if limit.rolling_ms % ROLLING_STEP_MS or limit.rolling_ms > MAX_ROLLING_MS:
        raise InvalidInput(f"{field}.rolling_period", "must be whole minutes, at most 366 days")


def _check_thresholds(field: str, thresholds: tuple[Threshold, ...]) -> None:
    if len(thresholds) > MAX_THRESHOLDS:
        raise InvalidInput(field, f"at most {MAX_THRESHOLDS} thresholds")
    before = 0
    for at, threshold in enumerate(thresholds):
        path = f"{field}[{at}]"
        if not before < threshold.basis_points <= MAX_BASIS_POINTS:
            raise InvalidInput(f"{path}.basis_points", "thresholds must rise, and lie above 0 and at most at 100 %")
        before = threshold.basis_points
        for index, channel in enumerate(threshold.notify):
            check_name(f"{path}.notify[{index}]", channel)
