from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from services.kernel.change import OWNER, Action, AuditEntry
from services.kernel.clock import ManualClock
from services.kernel.errors import AlreadyExists, InvalidInput, NotFound
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.directory.configuration import Configuration, KeySpec
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import SecretKind, checksum_holds, digest_of
from services.quota.domain.identity.team import Environment, Team
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy
from services.quota.ports.directory import Answering, RecordedChange
from services.quota.usecases.administer import Administer
from services.quota.usecases.amend import Amend
from services.quota.usecases.authenticate import Authenticate, AuthenticatedKey
from services.quota.usecases.live import Live
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_directory import MemoryDirectory
from tests.worlds.quota import PEPPER

SECRET = "a-secret-of-sixteen-or-more"
DAILY = QuotaPolicy("daily", Match(team="ds"), (Limit(LimitKind.REQUESTS, 5, WindowUnit.DAY),))
DECLARED = KeySpec("ds-prod", team="ds", environment="prod", secret=SECRET)
ANYBODY = QuotaPolicy("anybody", Match(), (Limit(LimitKind.REQUESTS, 9, WindowUnit.DAY),))
DS = Team("ds", ("p",), ("ada@example.com",))
CONFIGURATION = Configuration("acme", (DS,), (DAILY,), (DECLARED,))
OPEN = Configuration("acme", (DS,), (ANYBODY,), ())
"""Under it any key can be made."""


class WatchedDirectory(MemoryDirectory):
    """Calls `meanwhile` when a change is made and not yet stored."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        def watched(before: Directory) -> tuple[Directory, Sequence[AuditEntry]]:
            changed = change(before)
            self.meanwhile()
            return changed

        return super().replace(watched, answering)


class Office:
    """An administrator's desk over a directory in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = WatchedDirectory()
        self.live = Live(Directory())
        self.amend = Amend(store=self.store, live=self.live, adoption=MemoryCounters(), clock=self.clock)
        self.administer = Administer(
            amend=self.amend, live=self.live, clock=self.clock, entropy=os.urandom, pepper=PEPPER
        )
        self.authenticate = Authenticate(self.live, self.clock, PEPPER)

    def apply(self, configuration: Configuration = CONFIGURATION) -> list[tuple[Action, str, str, str]]:
        applied = self.administer.apply(configuration, validate_only=False, by=OWNER)
        return [(change.action, change.kind, change.name, change.detail) for change in applied.changes]

    def opens(self, secret: str) -> str | None:
        found = self.authenticate(secret)
        return found.key.name if isinstance(found, AuthenticatedKey) else None


def test_applying_makes_everything_as_sent_and_it_is_in_force_at_once() -> None:
    office = Office()

    assert office.apply() == [
        (Action.CREATE, "organization", "acme", ""),
        (Action.CREATE, "team", "ds", ""),
        (Action.CREATE, "policy", "daily", ""),
        (Action.CREATE, "virtual key", "ds-prod", ""),
    ]
    assert office.opens(SECRET) == "ds-prod"
    assert office.live.snapshot.directory.policies_by_name == {"daily": DAILY}
    assert office.store.load() == office.live.snapshot.directory.directory


def test_what_was_in_force_stays_in_force_until_a_change_is_stored() -> None:
    office, opened = Office(), list[str | None]()
    office.apply()
    office.store.meanwhile = lambda: opened.append(office.opens(SECRET))

    office.apply(replace(CONFIGURATION, policies=(ANYBODY,)))
    office.administer.create_key(KeySpec("another"), SecretKind.LIVE, by=OWNER)
    office.administer.set_key_disabled("ds-prod", disabled=True, by=OWNER)

    assert opened == ["ds-prod"] * 3
    assert office.opens(SECRET) is None


def test_applying_twice_changes_nothing() -> None:
    office = Office()
    office.apply()
    before = office.store.load()

    assert office.apply() == []
    assert office.store.load() == before


def test_validating_only_says_what_would_change_and_changes_nothing() -> None:
    office = Office()

    applied = office.administer.apply(CONFIGURATION, validate_only=True, by=OWNER)

    assert len(applied.changes) == 4
    assert office.store.load() == Directory()
    assert office.opens(SECRET) is None


def test_changes_name_the_fields_that_differ_and_no_values() -> None:
    office = Office()
    office.apply()
    policy = replace(DAILY, limits=(replace(DAILY.limits[0], bound=6),))
    key = replace(DECLARED, secret="another-secret-of-length", models=("tiny",))

    changes = office.apply(Configuration("acme", (replace(DS, projects=()),), (policy,), (key,)))

    assert changes == [
        (Action.UPDATE, "team", "ds", "projects"),
        (Action.UPDATE, "policy", "daily", "limits"),
        (Action.UPDATE, "virtual key", "ds-prod", "models, secret"),
    ]
    assert office.opens(SECRET) is None
    assert office.opens("another-secret-of-length") == "ds-prod"


def test_a_declared_key_leaves_with_the_configuration_and_a_made_one_stays() -> None:
    office = Office()
    office.apply()
    made = office.administer.create_key(KeySpec("made", team="ds"), SecretKind.LIVE, by=OWNER)

    assert office.apply(replace(CONFIGURATION, keys=())) == [(Action.DELETE, "virtual key", "ds-prod", "")]
    assert office.opens(SECRET) is None
    assert office.opens(made.secret) == "made"


def test_an_empty_secret_leaves_a_known_one_as_it_is() -> None:
    office = Office()
    office.apply()
    key_id = office.store.load().keys[0].key_id

    assert office.apply(replace(CONFIGURATION, keys=(replace(DECLARED, secret=""),))) == []
    assert office.opens(SECRET) == "ds-prod"
    assert office.store.load().keys[0].key_id == key_id


def test_a_key_that_was_stopped_stays_stopped_when_the_configuration_is_applied_again() -> None:
    office = Office()
    office.apply()
    office.administer.set_key_disabled("ds-prod", disabled=True, by=OWNER)

    assert office.apply() == []
    assert office.opens(SECRET) is None

    office.administer.set_key_disabled("ds-prod", disabled=False, by=OWNER)
    assert office.opens(SECRET) == "ds-prod"


@pytest.mark.parametrize(
    ("configuration", "field"),
    [
        (replace(CONFIGURATION, organization=""), "organization"),
        (replace(CONFIGURATION, teams=(Team("ds"), Team("ds"))), "teams[1].name"),
        (replace(CONFIGURATION, teams=(Team("ds", ("a b",)),)), "teams[0].projects[0]"),
        (replace(CONFIGURATION, teams=(Team("ds", (), ("a b",)),)), "teams[0].members[0]"),
        (replace(CONFIGURATION, policies=(DAILY, DAILY)), "policies[1].name"),
        (replace(CONFIGURATION, policies=(replace(DAILY, limits=()),)), "policies[0].limits"),
        (replace(CONFIGURATION, keys=(DECLARED, DECLARED)), "keys[1].name"),
        (replace(CONFIGURATION, keys=(replace(DECLARED, secret="short"),)), "keys[0].secret"),
        (replace(CONFIGURATION, environments=(Environment("a,b"),)), "environments[0]"),
        (replace(CONFIGURATION, environments=(Environment("a"), Environment("a"))), "environments[1].name"),
        (replace(CONFIGURATION, models=("a b",)), "models[0]"),
        (replace(CONFIGURATION, keys=(replace(DECLARED, user="a b"),)), "keys[0].user"),
        (replace(CONFIGURATION, keys=(replace(DECLARED, environment="a,b"),)), "keys[0].environment"),
        (replace(CONFIGURATION, keys=(replace(DECLARED, models=("a", "b c")),)), "keys[0].models[1]"),
        (replace(CONFIGURATION, keys=(replace(DECLARED, models=("m",) * 1_001),)), "keys[0].models"),
        (replace(CONFIGURATION, keys=(DECLARED, replace(DECLARED, name="twin"))), "keys[1].secret"),
    ],
)
def test_a_wrong_configuration_is_refused_where_it_is_wrong_and_nothing_changes(
    configuration: Configuration, field: str
) -> None:
    office = Office()

    with pytest.raises(InvalidInput) as caught:
        office.apply(configuration)

    assert caught.value.field == field
    assert SECRET not in str(caught.value)
    assert office.store.load() == Directory()


def test_what_will_not_work_is_accepted_with_a_warning() -> None:
    stray = replace(DAILY, name="stray", match=Match(team="ds", environment="dev"))
    key = KeySpec("silent", team="ds", environment="prod")

    warnings = (
        Office()
        .administer.apply(Configuration("acme", (DS,), (ANYBODY, stray), (key,)), validate_only=False, by=OWNER)
        .warnings
    )

    assert [warning.split(":")[0] for warning in warnings] == [
        "Policy stray matches no virtual key",
        "Virtual key silent has no secret",
    ]


def test_why_a_secret_is_missing_is_reported_once_and_by_who_knows_whether_it_matters() -> None:
    office = Office()
    unset = KeySpec("app", secret_problem="environment variable APP is not set")
    configuration = replace(OPEN, keys=(unset,))

    assert office.administer.apply(configuration, validate_only=False, by=OWNER).warnings == (
        "Virtual key app has no secret (environment variable APP is not set): give it one, or rotate it.",
    )
    office.administer.rotate_key("app", grace_ms=0, by=OWNER)
    assert office.administer.apply(configuration, validate_only=False, by=OWNER).warnings == (
        "Virtual key app keeps the secret that it has: environment variable APP is not set.",
    )


@pytest.mark.parametrize(("counters_shared", "warnings"), [(False, 1), (True, 0)])
def test_an_allowance_is_warned_of_where_there_is_no_counter_store_that_could_fail(
    *, counters_shared: bool, warnings: int
) -> None:
    office = Office()
    administer = Administer(
        amend=office.amend,
        live=office.live,
        clock=office.clock,
        entropy=os.urandom,
        pepper=PEPPER,
        counters_shared=counters_shared,
    )
    policy = replace(CONFIGURATION.policies[0], allowance_nano_usd=1)
    applied = administer.apply(replace(CONFIGURATION, policies=(policy,)), validate_only=False, by=OWNER)
    assert sum("has no effect here" in warning for warning in applied.warnings) == warnings


def test_a_policy_for_one_model_matches_a_key_for_all_models() -> None:
    of_model = replace(DAILY, match=Match(model="tiny"))
    configuration = replace(CONFIGURATION, policies=(of_model,), models=("tiny",))

    assert Office().administer.apply(configuration, validate_only=True, by=OWNER).warnings == ()


def test_a_made_key_has_a_secret_of_ours_that_is_stored_nowhere() -> None:
    office = Office()
    office.apply(OPEN)

    made = office.administer.create_key(KeySpec("ci", team="ds", expire_at_ms=5), SecretKind.TEST, by=OWNER)

    assert made.secret.startswith("spg_test_")
    assert checksum_holds(made.secret)
    assert made.key.attribution == Attribution(made.key.key_id, "ci", "ds")
    assert made.key.key_id.startswith("key_")
    assert made.key.digest == digest_of(made.secret, PEPPER)
    assert made.secret not in repr(office.store.load())
    assert (made.key.create_at_ms, made.key.expire_at_ms) == (office.clock.now_ms(), 5)


def test_a_name_is_given_once() -> None:
    office = Office()
    office.apply(OPEN)
    office.administer.create_key(KeySpec("ci"), SecretKind.LIVE, by=OWNER)

    with pytest.raises(AlreadyExists):
        office.administer.create_key(KeySpec("ci"), SecretKind.LIVE, by=OWNER)
    with pytest.raises(InvalidInput):
        office.administer.create_key(KeySpec("-"), SecretKind.LIVE, by=OWNER)


def test_a_rotated_key_opens_with_the_new_secret_and_for_its_grace_with_the_old() -> None:
    office = Office()
    office.apply(OPEN)
    old = office.administer.create_key(KeySpec("ci"), SecretKind.TEST, by=OWNER)

    new = office.administer.rotate_key("ci", grace_ms=60_000, by=OWNER)

    assert new.secret.startswith("spg_test_")
    assert new.key.key_id == old.key.key_id
    assert [office.opens(new.secret), office.opens(old.secret)] == ["ci", "ci"]
    office.clock.advance(60_000)
    assert [office.opens(new.secret), office.opens(old.secret)] == ["ci", None]


def test_without_a_grace_the_old_secret_ends_at_once() -> None:
    office = Office()
    office.apply(OPEN)
    old = office.administer.create_key(KeySpec("ci"), SecretKind.LIVE, by=OWNER)

    office.administer.rotate_key("ci", grace_ms=0, by=OWNER)

    assert office.opens(old.secret) is None


def test_of_two_rotations_only_the_last_secret_but_one_has_a_grace() -> None:
    office = Office()
    office.apply(OPEN)
    first = office.administer.create_key(KeySpec("ci"), SecretKind.LIVE, by=OWNER)
    second = office.administer.rotate_key("ci", grace_ms=60_000, by=OWNER)
    office.administer.rotate_key("ci", grace_ms=60_000, by=OWNER)

    assert [office.opens(first.secret), office.opens(second.secret)] == [None, "ci"]


def test_unknown_keys_and_absurd_graces_are_refused() -> None:
    office = Office()
    office.apply(OPEN)
    office.administer.create_key(KeySpec("ci"), SecretKind.LIVE, by=OWNER)

    with pytest.raises(NotFound):
        office.administer.rotate_key("nobody", grace_ms=0, by=OWNER)
    with pytest.raises(NotFound):
        office.administer.set_key_disabled("nobody", disabled=True, by=OWNER)
    with pytest.raises(InvalidInput):
        office.administer.rotate_key("ci", grace_ms=604_800_001, by=OWNER)


def test_what_another_process_changed_is_taken_over() -> None:
    office = Office()
    changed = Directory("acme", policies=(DAILY,))
    office.amend.refresh()
    assert office.live.snapshot.directory.directory == Directory()

    office.store.changed_elsewhere(changed)
    office.amend.refresh()

    assert office.live.snapshot.directory.directory == changed
