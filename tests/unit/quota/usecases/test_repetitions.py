"""A repeated request gets the answer that was lost, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.kernel.change import Actor, Authorship, Role
from services.kernel.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, PermissionDenied
from services.kernel.repetition import KEPT_MS
from services.quota.adapters.directory_tables import METADATA
from services.quota.domain.directory.configuration import KeySpec
from services.quota.domain.identity.key import SecretKind, checksum_holds
from services.quota.usecases.administer import Administer
from services.quota.usecases.overrides import Grant
from tests.worlds.quota import CENT, spend
from tests.worlds.repetitions import again, asked, of_others
from tests.worlds.shared_directory import OPEN, SPEC, Quota, open_engine_in, restarted, set_up

DAY_MS = 86_400_000
LEAD = Actor("lead", Role.TEAM_ADMIN, "ds")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    with open_engine_in(tmp_path) as engine:
        yield engine


@pytest.fixture
def quota(engine: sa.Engine) -> Quota:
    return set_up(engine)


def test_a_repeated_creation_gets_the_same_secret_from_a_new_process_and_makes_no_second_key(quota: Quota) -> None:
    by = asked()
    secret = quota.create(by)
    entries = quota.count("audit_entries")

    survivor = restarted(quota)
    minted = survivor.administer.create_key(SPEC, SecretKind.LIVE, by=again(by))

    assert (minted.secret, minted.key.name) == (secret, "ci")
    assert survivor.opens(secret) == "ci"
    assert checksum_holds(secret)
    assert survivor.count("virtual_keys") == 1
    assert survivor.count("audit_entries") == entries


def test_a_repeated_rotation_does_not_rotate_again(quota: Quota) -> None:
    first = quota.create(asked())
    by = asked(method="Rotate")
    second = quota.rotate(by)
    entries = quota.count("audit_entries")

    assert restarted(quota).rotate(again(by)) == second
    assert quota.opens(second) == "ci"
    assert quota.opens(first) is None
    assert quota.count("audit_entries") == entries


def test_a_mark_for_tests_is_in_the_repeated_secret_too(quota: Quota) -> None:
    by = asked()
    secret = quota.administer.create_key(SPEC, SecretKind.TEST, by=by).secret

    assert secret.startswith("spg_test_")
    assert quota.administer.create_key(SPEC, SecretKind.TEST, by=again(by)).secret == secret


def test_two_requests_never_get_one_secret(quota: Quota) -> None:
    secrets = {quota.create(asked(), KeySpec(f"key-{number}", team="ds")) for number in range(20)}
    secrets |= {quota.rotate(asked(method="Rotate"), "key-1") for _ in range(20)}

    assert len(secrets) == 40


def test_a_secret_cannot_be_made_from_the_database_alone(quota: Quota) -> None:
    by = asked()
    secret = quota.create(by)
    thief = Quota(quota.engine, quota.clock)
    thief.administer = Administer(
        amend=thief.amend, live=thief.live, clock=thief.clock, entropy=os.urandom, pepper=bytes(32)
    )

    with pytest.raises(FailedPrecondition):
        thief.create(again(by))
    with quota.engine.connect() as connection:
        rows = str(connection.execute(sa.select(METADATA.tables["requests"])).all())
    assert secret not in rows


@pytest.mark.parametrize("thief", [Actor("eve", Role.PLATFORM), LEAD, Actor("root", Role.FINANCE)])
def test_somebody_who_saw_the_id_gets_no_secret_and_learns_nothing_of_the_request(quota: Quota, thief: Actor) -> None:
    by = asked()
    quota.create(by)

    with pytest.raises(InvalidInput, match="belongs to another request") as refused:
        quota.create(of_others(by, thief))

    assert refused.value.field == "request_id"
    assert "ci" not in refused.value.problem.replace(by.repeatable.id if by.repeatable else "", "")


def test_a_team_admin_gets_nothing_of_what_the_platform_asked_for(quota: Quota) -> None:
    by = asked()
    quota.create(by, KeySpec("theirs", team="marketing"))

    with pytest.raises(PermissionDenied):
        quota.create(of_others(by, LEAD), KeySpec("theirs", team="marketing"))


@pytest.mark.parametrize("changed", [asked(content="other"), asked(method="Rotate")])
def test_the_same_id_with_another_request_is_refused(quota: Quota, changed: Authorship) -> None:
    assert changed.repeatable is not None
    quota.create(asked(request_id=changed.repeatable.id))

    with pytest.raises(InvalidInput, match="belongs to another request of the last 24 hours"):
        quota.create(changed, KeySpec("cd", team="ds"))

    assert quota.count("virtual_keys") == 1


def test_a_key_that_went_to_another_team_is_not_handed_to_its_former_admin(quota: Quota) -> None:
    by = asked(LEAD)
    quota.create(by)
    moved = replace(OPEN, keys=(KeySpec("ci", team="marketing"),))
    quota.administer.apply(moved, validate_only=False, by=asked(method="Apply"))

    with pytest.raises(PermissionDenied, match="belongs to team marketing"):
        quota.create(again(by))


def test_a_key_that_became_unlimited_is_not_handed_to_a_team_admin(quota: Quota) -> None:
    by = asked(LEAD)
    quota.create(by)
    unlimited = replace(OPEN, keys=(KeySpec("ci", team="ds", unlimited=True),))
    quota.administer.apply(unlimited, validate_only=False, by=asked(method="Apply"))

    with pytest.raises(PermissionDenied, match="unlimited"):
        quota.create(again(by))


def test_after_a_later_rotation_the_first_secret_is_not_shown_again(quota: Quota) -> None:
    by = asked()
    quota.create(by)
    newer = quota.rotate(asked(method="Rotate"))

    with pytest.raises(FailedPrecondition, match="virtual key ci was replaced or removed"):
        quota.create(again(by))
    assert quota.opens(newer) == "ci"


def test_of_a_disabled_key_a_repetition_tells_that_it_is_disabled_and_does_not_enable_it(quota: Quota) -> None:
    by = asked()
    secret = quota.create(by)
    quota.administer.set_key_disabled("ci", disabled=True, by=asked(method="Disable"))

    minted = quota.administer.create_key(SPEC, SecretKind.LIVE, by=again(by))

    assert (minted.secret, minted.key.disabled) == (secret, True)
    assert quota.opens(secret) is None


def test_a_repeated_disabling_does_not_undo_a_later_enabling(quota: Quota) -> None:
    secret = quota.create(asked())
    by = asked(method="Disable")
    quota.administer.set_key_disabled("ci", disabled=True, by=by)
    quota.administer.set_key_disabled("ci", disabled=False, by=asked(method="Enable"))

    assert not quota.administer.set_key_disabled("ci", disabled=True, by=again(by)).disabled
    assert quota.opens(secret) == "ci"


def test_after_a_day_a_repetition_is_a_new_request_and_nobody_can_make_the_secret_again(quota: Quota) -> None:
    by = asked()
    quota.create(by)
    quota.clock.advance(KEPT_MS - 1)
    quota.create(again(by))

    quota.clock.advance(1)

    with pytest.raises(AlreadyExists):
        quota.create(again(by))
    quota.store.forget_requests(quota.clock.now_ms())
    assert quota.count("requests") == 0


def test_a_failed_request_is_not_remembered(quota: Quota) -> None:
    by = asked()
    with pytest.raises(InvalidInput):
        quota.create(by, KeySpec("ci", team="dss"))

    assert quota.create(again(by))


def test_the_secret_of_an_admin_token_is_not_lost_either(quota: Quota) -> None:
    by = asked()
    expire_at_ms = quota.clock.now_ms() + 1_000
    minted = quota.tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=by)
    quota.clock.advance(2_000)

    repeated = restarted(quota).tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=again(by))

    assert repeated == minted
    quota.tokens.revoke("lead", by=asked(method="Revoke"))
    with pytest.raises(FailedPrecondition, match="admin token lead was replaced or removed"):
        quota.tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=again(by))


def test_a_repeated_revocation_does_not_revoke_a_later_token_of_that_name(quota: Quota) -> None:
    expire_at_ms = quota.clock.now_ms() + DAY_MS
    quota.tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=asked())
    by = asked(method="Revoke")
    gone = quota.tokens.revoke("lead", by=by)
    later = quota.tokens.create("lead", Role.FINANCE, "", expire_at_ms, by=asked())

    assert quota.tokens.revoke("lead", by=again(by)) == gone
    assert quota.tokens.find(later.secret) is not None


def test_a_later_holder_of_a_revoked_tokens_name_gets_none_of_its_answers(quota: Quota) -> None:
    expire_at_ms = quota.clock.now_ms() + DAY_MS
    quota.tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=asked())
    by = asked(LEAD)
    quota.create(by)
    quota.tokens.revoke("lead", by=asked(method="Revoke"))
    quota.tokens.create("lead", Role.TEAM_ADMIN, "ds", expire_at_ms, by=asked())

    with pytest.raises(AlreadyExists):
        quota.create(again(by))


def grant(quota: Quota, by: Authorship) -> str:
    asked_for = Grant("all", "spend/month", "", 600 * CENT, 0, quota.clock.now_ms() + DAY_MS)
    return quota.overrides.grant(asked_for, by=by).name


def test_a_repeated_grant_makes_no_second_override_and_brings_no_revoked_one_back(quota: Quota) -> None:
    by = asked(method="Grant")
    name = grant(quota, by)
    assert grant(quota, again(by)) == name
    assert quota.count("overrides") == 1

    revoking = asked(method="Revoke")
    gone = quota.overrides.revoke(name, by=revoking)

    assert quota.overrides.revoke(name, by=again(revoking)) == gone
    assert grant(quota, again(by)) == name
    assert quota.count("overrides") == 0
    with pytest.raises(NotFound):
        quota.overrides.revoke(name, by=asked(method="Revoke"))


def test_a_repeated_configuration_is_not_applied_over_a_newer_one(quota: Quota) -> None:
    old, new = (replace(OPEN, policies=(spend("all", cents),)) for cents in (100, 200))
    by = asked(method="Apply")
    applied = quota.administer.apply(old, validate_only=False, by=by)
    quota.administer.apply(new, validate_only=False, by=asked(method="Apply"))

    repeated = restarted(quota).administer.apply(old, validate_only=False, by=again(by))

    assert repeated == applied
    assert applied.changes
    assert quota.store.load().policies == new.policies


def test_a_configuration_that_changed_nothing_is_remembered_too(quota: Quota) -> None:
    by = asked(method="Apply")
    assert not quota.administer.apply(OPEN, validate_only=False, by=by).changes
    newer = replace(OPEN, policies=(spend("all", 7),))
    quota.administer.apply(newer, validate_only=False, by=asked(method="Apply"))

    quota.administer.apply(OPEN, validate_only=False, by=again(by))

    assert quota.store.load().policies == newer.policies


def test_a_trial_is_not_remembered(quota: Quota) -> None:
    by = asked(method="Apply")
    newer = replace(OPEN, policies=(spend("all", 7),))
    quota.administer.apply(newer, validate_only=True, by=by)

    assert quota.administer.apply(newer, validate_only=False, by=again(by)).changes
    assert quota.store.load().policies == newer.policies


def test_the_digest_of_a_configuration_with_secrets_is_kept_under_the_pepper(quota: Quota) -> None:
    by = asked(method="Apply", content="a file with a secret")
    quota.administer.apply(OPEN, validate_only=False, by=by)

    assert by.repeatable is not None
    with quota.engine.connect() as connection:
        kept = connection.scalars(sa.select(METADATA.tables["requests"].c.digest)).all()
    assert by.repeatable.digest not in kept
