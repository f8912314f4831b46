from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import InvalidInput, PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import Call, apply_limits
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from tests.worlds.quota import spend

MODELS = ("dear", "cheap")
DEV = Match(team="ds", environment="dev")
PROD = Match(team="ds", environment="prod")


def key(environment: str = "prod", *models: str, **who: str) -> VirtualKey:
    return VirtualKey(Attribution("key_1", **{"key": "app", "team": "ds", "environment": environment, **who}), models)


def limited(kind: LimitKind, per: WindowUnit = WindowUnit.DAY, **changes: object) -> QuotaPolicy:
    return replace(QuotaPolicy("p", Match(), (Limit(kind, 5, per),)), **changes)  # type: ignore[arg-type]  # as in it


def bounds(*policies: QuotaPolicy) -> Bounds:
    return Bounds(Directory(policies=policies), MODELS)


def is_bounded(policies: tuple[QuotaPolicy, ...], subject: VirtualKey) -> bool:
    try:
        bounds(*policies).check("key", subject)
    except InvalidInput:
        return False
    return True


def may_be_made(policies: tuple[QuotaPolicy, ...], subject: VirtualKey) -> bool:
    try:
        bounds(*policies).check_within_team("key", subject)
    except PermissionDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("policy", "binds"),
    [
        (limited(LimitKind.SPEND, WindowUnit.MONTH), True),
        (limited(LimitKind.TOKENS), True),
        (limited(LimitKind.INPUT_TOKENS, WindowUnit.LIFETIME), True),
        (limited(LimitKind.REQUESTS, WindowUnit.MINUTE), True),
        (limited(LimitKind.SPEND, default=True), True),
        (limited(LimitKind.SPEND, each=Dimension.USER), True),
        # A call of no output takes nothing of it, and its input costs all the same.
        (limited(LimitKind.OUTPUT_TOKENS), False),
        # The client begins another run.
        (limited(LimitKind.SPEND, WindowUnit.RUN), False),
        (limited(LimitKind.CONCURRENCY, WindowUnit.LIFETIME), False),
        (limited(LimitKind.REQUEST_COST, WindowUnit.LIFETIME), False),
        (limited(LimitKind.SPEND, mode=Mode.SHADOW), False),
        (limited(LimitKind.SPEND, mode=Mode.DISABLED), False),
        (limited(LimitKind.SPEND, match=Match(team="other")), False),
    ],
)
def test_what_binds_adds_up_over_a_time_is_enforced_and_matches(policy: QuotaPolicy, *, binds: bool) -> None:
    app = key(user="")
    applied = apply_limits([policy], Call(app.attribution, "dear", "a-run"), 1_800_000_000_000)

    assert applied.bounded is binds
    assert is_bounded((policy,), app) is binds


def test_a_policy_that_bounds_nothing_leaves_the_default_in_force() -> None:
    default = limited(LimitKind.SPEND, default=True, name="default")
    beside = limited(LimitKind.CONCURRENCY, WindowUnit.LIFETIME, name="beside")
    call = Call(key().attribution, "dear")

    assert apply_limits([default, beside], call, 0).policies == ("default", "beside")
    assert apply_limits([default, spend("own", 5)], call, 0).policies == ("own",)


def test_a_key_is_judged_over_the_models_that_it_may_use() -> None:
    of_dear = spend("p", 5, match=Match(model="dear"))

    assert is_bounded((of_dear,), key())
    assert not is_bounded((of_dear,), key("prod", "cheap"))
    (warning,) = Bounds(Directory(policies=(of_dear,), keys=(key(),)), MODELS).warnings()
    assert warning.startswith("Virtual key app is refused for cheap: no enforced policy bounds what its calls for them")


def test_the_refusal_names_what_to_add() -> None:
    with pytest.raises(InvalidInput) as refused:
        bounds().check("keys[3]", key(""))

    assert refused.value.field == "keys[3]"
    for cure in ("a policy that matches it", "an environment (dev, prod, staging)", "`unlimited: true`"):
        assert cure in refused.value.problem


def test_a_key_that_is_to_be_unlimited_passes_and_is_reported_where_it_is_not() -> None:
    unlimited = replace(key(), unlimited=True)
    bounds().check("key", unlimited)

    def warnings(*policies: QuotaPolicy) -> list[str]:
        return [*Bounds(Directory(policies=policies, keys=(unlimited,)), MODELS).warnings()]

    assert warnings() == []
    (warning,) = warnings(spend("all", 5))
    assert "policy all still binds it" in warning


ALLOWED = (spend("ds-dev", 5, match=DEV), spend("ds-prod", 5, match=PROD), replace(spend("default", 99), default=True))


@pytest.mark.parametrize(
    ("environment", "allowed"), [("dev", True), ("prod", True), ("staging", False), ("", False), ("Prod", False)]
)
def test_a_team_admin_makes_keys_only_where_the_policies_of_its_team_bind(environment: str, *, allowed: bool) -> None:
    assert may_be_made(ALLOWED, key(environment)) is allowed


def test_a_team_admin_does_not_get_past_limits_on_money_by_way_of_others() -> None:
    requests = limited(LimitKind.REQUESTS, name="ds-requests", match=Match(team="ds"))
    everybody = limited(LimitKind.REQUESTS, name="everybody")

    assert not may_be_made((*ALLOWED, requests, everybody), key("staging"))
    assert may_be_made((*ALLOWED, spend("ds", 9, match=Match(team="ds"))), key("staging"))
    assert may_be_made((*ALLOWED, replace(spend("teams", 9), each=Dimension.TEAM)), key("staging"))


def test_a_team_admin_names_the_models_where_only_some_are_bound() -> None:
    of_dear = spend("ds-dear", 5, match=Match(team="ds", model="dear"))
    default = replace(spend("default", 99), default=True)

    assert not may_be_made((of_dear, default), key())
    assert not may_be_made((of_dear, default), key("prod", "dear", "cheap"))
    assert may_be_made((of_dear, default), key("prod", "dear"))
    # Together they are all models that there are today.
    of_cheap = spend("ds-cheap", 5, match=Match(team="ds", model="cheap"))
    assert not may_be_made((of_dear, of_cheap, default), key())


def test_a_team_without_policies_lives_by_those_for_everybody() -> None:
    assert may_be_made((replace(spend("default", 99), default=True),), key("staging"))
    assert may_be_made((spend("other", 5, match=Match(team="other")), spend("all", 5)), key("staging"))


def test_a_team_admin_makes_no_unlimited_key() -> None:
    with pytest.raises(PermissionDenied, match="only the platform role"):
        bounds(*ALLOWED).check_within_team("key", replace(key(), unlimited=True))


def test_a_key_that_a_policy_names_is_judged_by_itself_among_others_like_it() -> None:
    named, other = key(key="named"), key(key="other")
    policy = limited(LimitKind.SPEND, match=Match(key="named"))

    for keys in ((named, other), (other, named)):
        told = list(Bounds(Directory(policies=(policy,), keys=keys), MODELS).warnings())
        assert [("other" in warning, "cannot be used" in warning) for warning in told] == [(True, True)]


def test_keys_alike_are_judged_by_the_models_of_each() -> None:
    policy = limited(LimitKind.SPEND, match=Match(model="dear"))
    keys = (
        key("prod", "dear", key="bound"),
        key("prod", "cheap", key="free"),
        key("prod", "dear", "cheap", key="half"),
    )

    told = list(Bounds(Directory(policies=(policy,), keys=keys), MODELS).warnings())

    assert ["free" in told[0], "cannot be used" in told[0]] == [True, True]
    assert ["half" in told[1], "refused for cheap" in told[1]] == [True, True]
    assert len(told) == 2
