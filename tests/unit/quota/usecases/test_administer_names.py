"""A tired administrator: every mistyped name is refused, and the right one suggested."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.kernel.change import OWNER, Actor, Authorship
from services.kernel.errors import InvalidInput, NotFound, PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.directory.configuration import Configuration, KeySpec
from services.quota.domain.identity.key import SecretKind
from services.quota.domain.identity.team import Environment, Team
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy
from tests.unit.quota.usecases.test_administer import Office

POLICY = QuotaPolicy("everybody", Match(), (Limit(LimitKind.SPEND, 5, WindowUnit.MONTH),))
KEY = KeySpec("app", "ds", "forecasting", "prod", "ada@example.com", ("gpt-4o",), secret="a-secret-of-sixteen-or-more")
TEAMS = (Team("ds", ("forecasting",), ("ada@example.com",)), Team("ml", ("vision",), ("bob@example.com",)))
FILE = Configuration("acme", TEAMS, (POLICY,), (KEY,), models=("gpt-4o", "claude"))
LEAD = Authorship(Actor("lead", "team-admin", "ds"))
MISTYPED = [
    ("team", "dss", "there is no team 'dss': did you mean 'ds'?"),
    ("project", "forcasting", "there is no project of team ds 'forcasting': did you mean 'forecasting'?"),
    ("project", "vision", "there is no project of team ds 'vision': known: forecasting"),
    ("environment", "prdo", "there is no environment 'prdo': did you mean 'prod'?"),
    ("environment", "Prod", "there is no environment 'Prod': did you mean 'prod'?"),
    ("environment", "PROD", "there is no environment 'PROD': did you mean 'prod'?"),
    ("user", "bob@example.com", "there is no member of team ds 'bob@example.com': did you mean 'ada@example.com'?"),
]


@pytest.mark.parametrize(("dimension", "name", "problem"), MISTYPED)
def test_a_mistyped_name_is_refused_in_the_file_and_in_new_keys(dimension: str, name: str, problem: str) -> None:
    office = Office()
    changed: dict[str, Any] = {dimension: name}
    with pytest.raises(InvalidInput) as declared:
        office.apply(replace(FILE, keys=(replace(KEY, **changed),)))
    assert (declared.value.field, declared.value.problem) == (f"keys[0].{dimension}", problem)

    match = Match(**{"team": "ds", **changed})
    with pytest.raises(InvalidInput) as matched:
        office.apply(replace(FILE, policies=(POLICY, replace(POLICY, name="p", match=match))))
    assert (matched.value.field, matched.value.problem) == (f"policies[1].match.{dimension}", problem)

    office.apply(FILE)
    with pytest.raises(InvalidInput) as created:
        office.administer.create_key(replace(KEY, name="new", models=(), **changed), SecretKind.LIVE, by=OWNER)
    assert (created.value.field, created.value.problem) == (f"virtual_key.{dimension}", problem)
    assert [key.name for key in office.store.load().keys] == ["app"]


def test_a_mistyped_model_or_key_is_refused_where_it_is() -> None:
    office = Office()
    with pytest.raises(InvalidInput, match=r"keys\[0\].models\[1\]: there is no model 'gpt4o': did you mean 'gpt-4o'"):
        office.apply(replace(FILE, keys=(replace(KEY, models=("claude", "gpt4o")),)))
    for match, text in ((Match(key="ap"), "did you mean 'app'"), (Match(model="cluade"), "did you mean 'claude'")):
        with pytest.raises(InvalidInput, match=text):
            office.apply(replace(FILE, policies=(POLICY, replace(POLICY, name="p", match=match))))
    office.apply(FILE)
    with pytest.raises(NotFound, match="did you mean 'app'"):
        office.administer.rotate_key("App", grace_ms=0, by=OWNER)


def test_a_policy_may_be_for_a_key_that_was_created() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.create_key(KeySpec("ci", "ds"), SecretKind.LIVE, by=OWNER)

    office.apply(replace(FILE, policies=(POLICY, replace(POLICY, name="ci", match=Match(key="ci")))))


def test_declared_environments_are_all_that_there_are() -> None:
    office = Office()
    changes = office.apply(replace(FILE, environments=(Environment("prod"), Environment("qa"))))
    assert [change[:3] for change in changes if change[1] == "environment"] == [
        ("delete", "environment", "dev"),
        ("create", "environment", "qa"),
        ("delete", "environment", "staging"),
    ]
    office.administer.create_key(KeySpec("q", "ds", environment="qa"), SecretKind.LIVE, by=OWNER)
    with pytest.raises(InvalidInput, match=r"virtual_key\.environment: there is no environment 'dev': known: prod, qa"):
        office.administer.create_key(KeySpec("d", "ds", environment="dev"), SecretKind.LIVE, by=OWNER)


def test_what_a_created_key_names_may_go_and_is_reported() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.create_key(KeySpec("theirs", "ml", "vision"), SecretKind.LIVE, by=OWNER)

    applied = office.administer.apply(replace(FILE, teams=TEAMS[:1]), validate_only=False, by=OWNER)

    (warning,) = applied.warnings
    assert warning.startswith(
        "Virtual key theirs was created earlier, and now there is no team 'ml': known: ds (declare"
    )


def test_a_team_admin_is_not_told_names_of_other_teams() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.create_key(KeySpec("theirs", "ml"), SecretKind.LIVE, by=OWNER)

    with pytest.raises(NotFound, match="there is no virtual key 'their': known: app"):
        office.administer.rotate_key("their", grace_ms=0, by=LEAD)
    with pytest.raises(PermissionDenied, match="belongs to team mll"):
        office.administer.create_key(KeySpec("new", "mll"), SecretKind.LIVE, by=LEAD)
    for spec in (KeySpec("n", "ds", project="visio"), KeySpec("n", "ds", user="bbo@example.com")):
        with pytest.raises(InvalidInput) as refused:
            office.administer.create_key(spec, SecretKind.LIVE, by=LEAD)
        assert "vision" not in refused.value.problem
        assert "bob" not in refused.value.problem


def test_a_key_that_a_change_of_policies_leaves_unbounded_is_refused_if_declared_and_warned_about_if_created() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.create_key(KeySpec("ci", "ml"), SecretKind.LIVE, by=OWNER)
    of_ds = replace(POLICY, match=Match(team="ds"))
    of_ml = replace(POLICY, match=Match(team="ml"))

    with pytest.raises(InvalidInput, match=r"keys\[0\]: virtual key app: no enforced policy bounds"):
        office.apply(replace(FILE, policies=(of_ml,)))
    (warning,) = office.administer.apply(replace(FILE, policies=(of_ds,)), validate_only=False, by=OWNER).warnings
    assert warning.startswith("Virtual key ci cannot be used: no enforced policy bounds what it can take")
    office.apply(replace(FILE, policies=(of_ml,), keys=(replace(KEY, unlimited=True),)))


SECRET = KEY.secret


def test_a_rotated_key_of_the_file_keeps_the_newer_secret_and_says_so() -> None:
    office = Office()
    office.apply(FILE)
    newer = office.administer.rotate_key("app", grace_ms=0, by=OWNER)

    applied = office.administer.apply(FILE, validate_only=False, by=OWNER)

    assert (office.opens(SECRET), office.opens(newer.secret)) == (None, "app")
    assert applied.changes == ()
    (warning,) = applied.warnings
    assert warning.startswith(
        "Virtual key app does not get the secret that the file declares: a rotation retired it on"
    )
    assert SECRET not in warning


def test_a_leaked_secret_does_not_come_back_by_another_way() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.rotate_key("app", grace_ms=0, by=OWNER)
    second = office.administer.rotate_key("app", grace_ms=0, by=OWNER)

    # Under another name, after the key was gone, and an older one of two.
    office.apply(replace(FILE, keys=(replace(KEY, name="other"),)))
    assert office.opens(SECRET) is None
    office.apply(replace(FILE, keys=()))
    office.apply(FILE)
    assert office.opens(SECRET) is None
    office.apply(replace(FILE, keys=(replace(KEY, secret=second.secret),)))
    office.administer.rotate_key("app", grace_ms=0, by=OWNER)
    office.apply(FILE)
    assert (office.opens(SECRET), office.opens(second.secret)) == (None, None)


def test_a_really_new_secret_of_the_file_replaces_a_rotated_one() -> None:
    office = Office()
    office.apply(FILE)
    newer = office.administer.rotate_key("app", grace_ms=0, by=OWNER)

    office.apply(replace(FILE, keys=(replace(KEY, secret="really-new-0123456789"),)))

    assert (office.opens(newer.secret), office.opens("really-new-0123456789")) == (None, "app")


def test_the_grace_of_a_rotation_outlives_an_apply_of_the_same_file() -> None:
    office = Office()
    office.apply(FILE)
    office.administer.rotate_key("app", grace_ms=60_000, by=OWNER)
    office.apply(FILE)

    assert office.opens(SECRET) == "app"
    office.clock.advance(60_000)
    office.apply(FILE)
    assert office.opens(SECRET) is None


def test_a_team_admin_is_not_handed_the_secret_of_an_unlimited_key_and_may_stop_it() -> None:
    office = Office()
    office.apply(FILE)
    made = office.administer.create_key(KeySpec("free", "ds", unlimited=True), SecretKind.LIVE, by=OWNER)

    with pytest.raises(PermissionDenied, match="only the platform role may give it a secret"):
        office.administer.rotate_key("free", grace_ms=0, by=LEAD)
    assert office.opens(made.secret) == "free"
    office.administer.set_key_disabled("free", disabled=True, by=LEAD)
    assert office.opens(made.secret) is None
