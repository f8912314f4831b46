from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from spendgate.quota.v1.admin_service_pb2 import ListAuditEntriesRequest
from spendgate.type.v1.audit_pb2 import AuditEntry as AuditEntryMessage
from spendgate.type.v1.resource_kind_pb2 import RESOURCE_KIND_POLICY
from spendgate.type.v1.role_pb2 import ROLE_TEAM_ADMIN

from services.chassis.audit import AuditLog
from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.change import Actor, AuditAction, AuditEntry, Authorship, ResourceKind, Role
from services.kernel.errors import Unavailable
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.adapters.directory_tables import AUDIT
from services.quota.adapters.sql_directory import SqlDirectory, SqlSnapshots
from services.quota.domain.directory.directory import Directory
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold

EVERYTHING = Directory(
    organization="acme",
    teams=(Team("ds", ("forecasting", "pricing"), ("ada@example.com",)), Team("empty")),
    policies=(
        QuotaPolicy(
            name="monthly",
            match=Match("ds", "forecasting", "prod", "ada@example.com", "ci", "tiny"),
            limits=(
                Limit(LimitKind.SPEND, 9_000_000_000_000_000, WindowUnit.MONTH, "America/New_York"),
                Limit(LimitKind.TOKENS, 2**53, WindowUnit.MINUTE),
            ),
            each=Dimension.USER,
            thresholds=(Threshold(8_000, ("lead", "finance")),),
            mode=Mode.SHADOW,
            exhausted_status=402,
            allows_unpriced=True,
            allowance_nano_usd=2_500_000_000,
            refuses_unknown_members=True,
        ),
        QuotaPolicy("plain", Match(), (Limit(LimitKind.REQUESTS, 0, WindowUnit.DAY),)),
    ),
    keys=(
        VirtualKey(
            Attribution("key_1", "ci", "ds", "forecasting", "prod", "ada@example.com"),
            models=("tiny", "huge"),
            disabled=True,
            expire_at_ms=5,
            create_at_ms=4,
            hint="spg_live_ab...9xyz",
            declared=True,
            digest=b"\x00\xff" * 16,
            old_digest=b"\x01" * 32,
            old_until_ms=6,
        ),
        VirtualKey(Attribution("key_2", "waiting")),
    ),
    overrides=(
        Override("ovr_1", "monthly", "tokens/minute", "team=ds", 2**53, 1, 2, "a launch", "lead", Role.TEAM_ADMIN),
    ),
    tokens=(AdminToken("lead", Role.TEAM_ADMIN, "ds", b"\x02" * 32, "spa_ab...9xyz", 1, 2),),
)
ENTRY = AuditEntry(
    7,
    Authorship(Actor("lead", "team-admin", "ds"), "why", "req-1"),
    AuditAction.CREATE,
    ResourceKind.POLICY,
    "p",
    "",
    "{}",
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    yield engine
    engine.dispose()


def test_a_new_directory_is_empty(engine: sa.Engine) -> None:
    assert SqlDirectory(engine).load() == Directory()


def test_what_is_stored_is_loaded_exactly(engine: sa.Engine) -> None:
    assert SqlDirectory(engine).replace(lambda _: (EVERYTHING, (ENTRY,))) == EVERYTHING
    assert SqlDirectory(engine).load() == EVERYTHING


def test_what_was_changed_is_kept_with_it(engine: sa.Engine) -> None:
    SqlDirectory(engine).replace(lambda _: (EVERYTHING, (ENTRY,)))

    (kept,) = AuditLog(engine, AUDIT).page(ListAuditEntriesRequest()).audit_entries

    assert (kept.actor, kept.role, kept.reason, kept.request_id) == ("lead", ROLE_TEAM_ADMIN, "why", "req-1")
    assert (kept.action, kept.kind, kept.name) == (AuditEntryMessage.ACTION_CREATE, RESOURCE_KIND_POLICY, "p")
    assert (kept.before, kept.after) == ("", "{}")
    assert kept.change_time.ToMilliseconds() == 7


def test_a_change_sees_what_is_stored_and_removes_what_it_leaves_out(engine: sa.Engine) -> None:
    directory = SqlDirectory(engine)
    directory.replace(lambda _: (EVERYTHING, ()))
    smaller = replace(
        EVERYTHING,
        organization="renamed",
        teams=EVERYTHING.teams[:1],
        policies=(replace(EVERYTHING.policies[1], mode=Mode.DISABLED),),
        keys=(replace(EVERYTHING.keys[0], disabled=False),),
    )
    seen: list[Directory] = []

    def change(before: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
        seen.append(before)
        return smaller, ()

    directory.replace(change)

    assert seen == [EVERYTHING]
    assert directory.load() == smaller


def test_a_change_that_raises_stores_nothing(engine: sa.Engine) -> None:
    directory = SqlDirectory(engine)
    directory.replace(lambda _: (EVERYTHING, ()))

    def fail(_: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
        raise LookupError

    with pytest.raises(LookupError):
        directory.replace(fail)

    assert directory.load() == EVERYTHING


def test_a_change_by_another_process_is_seen_once(engine: sa.Engine) -> None:
    here, elsewhere = SqlDirectory(engine), SqlDirectory(engine)
    assert here.newer() is None
    elsewhere.replace(lambda _: (EVERYTHING, ()))

    assert here.newer() == EVERYTHING
    assert here.newer() is None
    assert elsewhere.newer() is None
    here.replace(lambda _: (Directory(), ()))
    assert here.newer() is None
    assert elsewhere.newer() == Directory()


def test_of_two_changes_at_the_same_moment_one_is_refused_and_none_is_lost(engine: sa.Engine) -> None:
    here, elsewhere = SqlDirectory(engine), SqlDirectory(engine)
    other = Directory(organization="other")

    def change(_: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
        elsewhere.replace(lambda _: (other, ()))
        return EVERYTHING, ()

    with pytest.raises(Unavailable, match="try again"):
        here.replace(change)
    assert here.load() == other
    assert here.newer() == other


def test_two_keys_can_swap_their_secrets_in_one_change(engine: sa.Engine) -> None:
    first, second = (VirtualKey(Attribution(f"key_{n}", n), digest=n.encode() * 32) for n in "ab")
    directory = SqlDirectory(engine)
    directory.replace(lambda _: (Directory(keys=(first, second)), ()))

    swapped = Directory(keys=(replace(first, digest=second.digest), replace(second, digest=first.digest)))

    assert directory.replace(lambda _: (swapped, ())) == swapped == directory.load()


def test_a_database_that_fails_is_unavailable(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE teams"))

    with pytest.raises(Unavailable):
        SqlDirectory(engine).load()


def test_the_last_snapshot_of_a_name_is_kept(engine: sa.Engine) -> None:
    snapshots = SqlSnapshots(engine)
    assert snapshots.load("plan") is None

    snapshots.save("plan", "1", b"one\x00")
    snapshots.save("plan", "2", b"two\xff")
    snapshots.save("prices", "1", b"")

    assert snapshots.load("plan") == b"two\xff"
    assert snapshots.load("prices") == b""


def test_a_policy_that_an_earlier_release_stored_is_read_with_its_defaults(engine: sa.Engine) -> None:
    store = SqlDirectory(engine)
    store.replace(lambda _: (EVERYTHING, ()))
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE policies SET body = json_remove(body, '$.exhausted_status', '$.allows_unpriced',"
                " '$.allowance_nano_usd', '$.refuses_unknown_members')"
                " WHERE name = 'plain'"
            )
        )

    assert store.load() == EVERYTHING


def test_keys_are_read_once_until_another_process_changes_something(engine: sa.Engine) -> None:
    here, elsewhere = SqlDirectory(engine), SqlDirectory(engine)
    elsewhere.replace(lambda _: (EVERYTHING, ()))
    seen: list[Directory] = []

    def change(before: Directory) -> tuple[Directory, tuple[AuditEntry, ...]]:
        seen.append(before)
        return replace(before, organization="renamed"), ()

    first = here.load()
    here.replace(change)

    assert here.load().keys[0] is here.load().keys[0] is first.keys[0] is seen[0].keys[0]
    elsewhere.replace(lambda before: (replace(before, keys=before.keys[:1]), ()))
    assert here.load() == elsewhere.load() == replace(EVERYTHING, organization="renamed", keys=EVERYTHING.keys[:1])


def test_what_a_change_left_in_any_order_is_loaded_in_order(engine: sa.Engine) -> None:
    directory = SqlDirectory(engine)
    directory.replace(lambda _: (replace(EVERYTHING, keys=EVERYTHING.keys[::-1], teams=EVERYTHING.teams[::-1]), ()))

    assert directory.load() == SqlDirectory(engine).load() == EVERYTHING


def test_keys_share_the_texts_that_they_have_in_common(engine: sa.Engine) -> None:
    who = replace(EVERYTHING.keys[0].attribution, key_id="key_3", key="twin")
    twin = replace(EVERYTHING.keys[0], attribution=who, digest=None, old_digest=None)
    SqlDirectory(engine).replace(lambda _: (replace(EVERYTHING, keys=(*EVERYTHING.keys, twin)), ()))

    loaded = SqlDirectory(engine).load()

    one, other = loaded.keys[0], loaded.keys[1]
    assert (one.name, other.name) == ("ci", "twin")
    assert one.attribution.user is other.attribution.user
    assert one.models is other.models
