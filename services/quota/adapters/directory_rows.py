"""Converts values of the directory to rows of its tables, and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from sys import intern
from typing import Any

import orjson

from services.kernel.change import given_fields
from services.kernel.limit_kind import kind_named
from services.kernel.scope import Dimension
from services.kernel.window import Weekday, WindowUnit
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import (
    TOO_MANY_REQUESTS,
    Match,
    Mode,
    QuotaPolicy,
    Threshold,
    ThresholdAction,
)

Row = dict[str, Any]


def team_row(team: Team) -> Row:
    """Writes the row of a team."""
    return {"name": team.name, "projects": _text(team.projects), "members": _text(team.members)}


def read_team(row: Any) -> Team:
    """Reads a team from its row."""
    return Team(row.name, tuple(orjson.loads(row.projects)), tuple(orjson.loads(row.members)))


def policy_row(policy: QuotaPolicy) -> Row:
    """Writes the row of a policy."""
    return {"name": policy.name, "body": _text(policy)}


def key_row(key: VirtualKey) -> Row:
    """Writes the row of a virtual key."""
    who = key.attribution
    return {
        "name": who.key,
        "key_id": who.key_id,
        "team": who.team,
        "project": who.project,
        "environment": who.environment,
        "user": who.user,
        "models": _text(key.models),
        "disabled": key.disabled,
        "expire_at_ms": key.expire_at_ms,
        "create_at_ms": key.create_at_ms,
        "hint": key.hint,
        "declared": key.declared,
        "digest": key.digest,
        "old_digest": key.old_digest,
        "old_until_ms": key.old_until_ms,
        "unlimited": key.unlimited,
    }


def read_key(row: Iterable[Any]) -> VirtualKey:
    """Reads a virtual key from its row, which has the columns of `key_row` in that order.

    Keys share the texts that many of them have, such as the name of their team.
    """
    name, key_id, team, project, environment, user, models, *rest = row
    attribution = Attribution(key_id, name, intern(team), intern(project), intern(environment), intern(user))
    return VirtualKey(attribution, _read_models(models), *rest)


@lru_cache(maxsize=1_000)
def _read_models(text: str) -> tuple[str, ...]:
    return tuple(orjson.loads(text))


def read_policy(name: str, body: Row) -> QuotaPolicy:
    """Reads a policy from its name and the body of its row."""
    return QuotaPolicy(
        name=name,
        match=Match(**body["match"]),
        limits=tuple(_read_limit(limit) for limit in body["limits"]),
        each=Dimension(body["each"]) if body["each"] else None,
        thresholds=tuple(
            Threshold(
                each["basis_points"], tuple(each["notify"]), ThresholdAction(each.get("action", ThresholdAction.NOTIFY))
            )
            for each in body["thresholds"]
        ),
        mode=Mode(body["mode"]),
        default=body.get("default", False),
        exhausted_status=body.get("exhausted_status", TOO_MANY_REQUESTS),
        allows_unpriced=body.get("allows_unpriced", False),
        allowance_nano_usd=body.get("allowance_nano_usd", 0),
        estimates_unmeasured=body.get("estimates_unmeasured", False),
        refuses_unknown_members=body.get("refuses_unknown_members", False),
    )


def _read_limit(body: Row) -> Limit:
    """Reads a limit. Fields that an earlier release did not write are absent."""
    return Limit(
        kind=kind_named(body["kind"]),
        bound=body["bound"],
        per=WindowUnit(body["per"]),
        timezone=body["timezone"],
        week_start=Weekday(body.get("week_start", Weekday.MONDAY)),
        anchor_day=body.get("anchor_day", 1),
        rolling_ms=body.get("rolling_ms", 0),
        soft=body.get("soft", False),
        factor_percent=body.get("factor_percent", 0),
    )


def _text(value: object) -> str:
    return orjson.dumps(value, given_fields, orjson.OPT_PASSTHROUGH_DATACLASS).decode()
