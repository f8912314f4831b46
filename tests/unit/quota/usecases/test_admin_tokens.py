from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from services.kernel.change import OWNER, Actor, Authorship, Role
from services.kernel.clock import ManualClock
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound, PermissionDenied
from services.quota.domain.directory.configuration import Configuration, KeySpec
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.admin_token import MAX_LIFE_MS
from services.quota.domain.identity.key import SecretKind
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.policy import Match
from services.quota.usecases.admin_tokens import AdminTokens, MintedToken
from services.quota.usecases.administer import Administer
from services.quota.usecases.amend import Amend
from services.quota.usecases.live import Live
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_directory import MemoryDirectory
from tests.worlds.quota import PEPPER, spend

BY = Authorship(Actor("root", "platform"), "onboarding", "req-1")
LEAD = Authorship(Actor("lead", "team-admin", "ds"), "a new service", "req-2")
DAY_MS = 86_400_000


EVERYBODY = Configuration("acme", (Team("ds"), Team("marketing")), (spend("all", 5),), ())


class Office:
    """Teams, and a limit for everybody together."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryDirectory()
        self.live = Live(Directory())
        amend = Amend(store=self.store, live=self.live, adoption=MemoryCounters(), clock=self.clock)
        self.tokens = AdminTokens(amend=amend, live=self.live, clock=self.clock, entropy=os.urandom, pepper=PEPPER)
        self.administer = Administer(amend=amend, live=self.live, clock=self.clock, entropy=os.urandom, pepper=PEPPER)
        self.administer.apply(EVERYBODY, validate_only=False, by=OWNER)
        self.store.entries.clear()

    def create(self, name: str = "lead", role: Role = Role.TEAM_ADMIN, team: str = "ds") -> MintedToken:
        return self.tokens.create(name, role, team, self.clock.now_ms() + DAY_MS, by=BY)

    def log(self) -> list[tuple[str, str, str, str]]:
        return [(entry.by.actor.name, entry.action, entry.kind, entry.name) for entry in self.store.entries]


def test_a_token_that_another_quota_just_made_is_found() -> None:
    here, elsewhere = Office(), Office()
    minted = elsewhere.create()
    here.store.changed_elsewhere(elsewhere.store.load())

    assert here.tokens.find(minted.secret) == minted.token
    assert here.tokens.find("spa_never-made") is None


def test_a_token_is_found_by_its_secret_and_is_gone_once_revoked() -> None:
    office = Office()
    minted = office.create()
    assert minted.secret.startswith("spa_")
    assert len(minted.secret) == len("spa_") + 32 + 6

    found = office.tokens.find(minted.secret)
    assert found is not None
    assert found.actor == Actor("lead", "team-admin", "ds")
    assert office.tokens.find(minted.secret[:-1]) is None
    assert office.tokens.list() == (minted.token,)

    assert office.tokens.revoke("lead", by=BY) == replace(minted.token, digest=b"")
    assert office.tokens.find(minted.secret) is None
    with pytest.raises(NotFound):
        office.tokens.revoke("lead", by=BY)


def test_a_mistyped_name_revokes_nothing_and_the_error_suggests_the_right_one() -> None:
    office = Office()
    office.create("ada")
    office.create("auditor")

    with pytest.raises(NotFound, match="there is no admin token 'auditer': did you mean 'auditor'"):
        office.tokens.revoke("auditer", by=BY)
    assert [token.name for token in office.tokens.list()] == ["ada", "auditor"]


def test_a_token_ends_with_its_time() -> None:
    office = Office()
    token = office.create().token

    assert not token.is_expired(office.clock.now_ms() + DAY_MS - 1)
    assert token.is_expired(office.clock.now_ms() + DAY_MS)


@pytest.mark.parametrize(
    ("name", "role", "team", "life_ms", "field"),
    [
        ("a b", Role.FINANCE, "", 1, "admin_token.name"),
        ("root", Role.FINANCE, "", 1, "admin_token.name"),
        ("local", Role.PLATFORM, "", 1, "admin_token.name"),
        ("lead", Role.TEAM_ADMIN, "", 1, "admin_token.team"),
        ("lead", Role.TEAM_ADMIN, "Ds", 1, "admin_token.team"),
        ("cfo", Role.FINANCE, "ds", 1, "admin_token.team"),
        ("cfo", Role.FINANCE, "", 0, "admin_token.expire_time"),
        ("cfo", Role.FINANCE, "", MAX_LIFE_MS + 1, "admin_token.expire_time"),
    ],
)
def test_a_wrong_token_is_refused_by_its_field(name: str, role: Role, team: str, life_ms: int, field: str) -> None:
    office = Office()
    with pytest.raises(InvalidInput) as refused:
        office.tokens.create(name, role, team, office.clock.now_ms() + life_ms, by=BY)
    assert refused.value.field == field


def test_two_tokens_cannot_have_one_name() -> None:
    office = Office()
    office.create()
    with pytest.raises(AlreadyExists):
        office.create(role=Role.FINANCE, team="")


def test_applying_a_configuration_leaves_tokens_alone() -> None:
    office = Office()
    token = office.create().token
    office.administer.apply(Configuration("acme", (), (), ()), validate_only=False, by=BY)
    assert office.tokens.list() == (token,)


def test_a_team_admin_makes_rotates_and_stops_keys_of_its_team_and_of_no_other() -> None:
    office = Office()
    office.administer.create_key(KeySpec("theirs", team="marketing"), SecretKind.LIVE, by=BY)

    office.administer.create_key(KeySpec("ours", team="ds"), SecretKind.LIVE, by=LEAD)
    office.administer.rotate_key("ours", grace_ms=0, by=LEAD)
    office.administer.set_key_disabled("ours", disabled=True, by=LEAD)

    before = office.store.load()
    for team in ("marketing", ""):
        with pytest.raises(PermissionDenied, match="the platform role may"):
            office.administer.create_key(KeySpec("new", team=team), SecretKind.LIVE, by=LEAD)
    with pytest.raises(PermissionDenied, match="virtual key theirs belongs to team marketing"):
        office.administer.rotate_key("theirs", grace_ms=0, by=LEAD)
    with pytest.raises(PermissionDenied):
        office.administer.set_key_disabled("theirs", disabled=True, by=LEAD)
    assert office.store.load() == before


def test_every_change_is_in_the_log_with_who_why_before_and_after() -> None:
    office = Office()
    policies = (*EVERYBODY.policies, spend("p", 5, match=Match(team="ds")))
    office.administer.apply(replace(EVERYBODY, policies=policies), validate_only=False, by=BY)
    office.create()
    office.administer.create_key(KeySpec("ours", team="ds"), SecretKind.LIVE, by=LEAD)
    office.administer.rotate_key("ours", grace_ms=0, by=LEAD)
    office.administer.set_key_disabled("ours", disabled=True, by=LEAD)
    office.administer.set_key_disabled("ours", disabled=False, by=LEAD)
    office.tokens.revoke("lead", by=BY)

    assert office.log() == [
        ("root", "create", "policy", "p"),
        ("root", "create", "admin token", "lead"),
        ("lead", "create", "virtual key", "ours"),
        ("lead", "rotate", "virtual key", "ours"),
        ("lead", "disable", "virtual key", "ours"),
        ("lead", "enable", "virtual key", "ours"),
        ("root", "revoke", "admin token", "lead"),
    ]
    stopped = office.store.entries[4]
    assert (stopped.by, stopped.time_ms) == (LEAD, office.clock.now_ms())
    before, after = json.loads(stopped.before), json.loads(stopped.after)
    assert (before["disabled"], after["disabled"]) == (False, True)
    assert json.loads(office.store.entries[0].after)["limits"][0]["kind"] == "spend"
    assert (office.store.entries[1].before, office.store.entries[6].after) == ("", "")


def test_what_changes_nothing_is_not_in_the_log() -> None:
    office = Office()
    wanted = replace(EVERYBODY, organization="acme-2")
    office.administer.apply(wanted, validate_only=True, by=OWNER)
    office.administer.apply(wanted, validate_only=False, by=OWNER)
    office.administer.apply(wanted, validate_only=False, by=OWNER)
    assert office.log() == [("local", "update", "organization", "acme-2")]


def test_no_secret_and_no_digest_is_in_the_log() -> None:
    office = Office()
    token = office.create()
    key = office.administer.create_key(KeySpec("ours", team="ds"), SecretKind.LIVE, by=BY)
    rotated = office.administer.rotate_key("ours", grace_ms=1_000, by=BY)

    text = "".join(entry.before + entry.after for entry in office.store.entries)

    assert rotated.key.digest is not None
    for secret in (token.secret, key.secret, rotated.secret):
        assert secret[12:-4] not in text
    assert "digest" not in text
