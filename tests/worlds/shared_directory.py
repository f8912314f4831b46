"""Quota processes whose administration shares one database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.change import Authorship
from services.kernel.clock import ManualClock
from services.quota.adapters.directory_tables import METADATA
from services.quota.adapters.sql_directory import SqlDirectory
from services.quota.domain.directory.configuration import Configuration, KeySpec
from services.quota.domain.identity.key import SecretKind
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.policy import Match
from services.quota.usecases.admin_tokens import AdminTokens
from services.quota.usecases.administer import Administer
from services.quota.usecases.amend import Amend
from services.quota.usecases.authenticate import Authenticate, AuthenticatedKey
from services.quota.usecases.live import Live
from services.quota.usecases.overrides import Overrides
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.quota import PEPPER, spend
from tests.worlds.repetitions import asked

OPEN = Configuration(
    "acme", (Team("ds"), Team("marketing")), (spend("all", 500), spend("ds", 300, match=Match(team="ds"))), ()
)
"""Under it any key can be made."""
SPEC = KeySpec("ci", team="ds")


@contextmanager
def open_engine_in(folder: Path) -> Iterator[sa.Engine]:
    """The engine of a new database."""
    engine = open_engine(folder / "quota.sqlite")
    migrate(engine, "services.quota")
    yield engine
    engine.dispose()


class Quota:
    """One quota process over a database that several may share."""

    def __init__(self, engine: sa.Engine, clock: ManualClock, store: SqlDirectory | None = None) -> None:
        self.engine, self.clock = engine, clock
        self.store = store or SqlDirectory(engine)
        self.live = Live(self.store.load())
        self.amend = Amend(store=self.store, live=self.live, adoption=MemoryCounters(), clock=clock)
        self.amend.catch_up()
        self.administer = Administer(amend=self.amend, live=self.live, clock=clock, entropy=os.urandom, pepper=PEPPER)
        self.tokens = AdminTokens(amend=self.amend, live=self.live, clock=clock, entropy=os.urandom, pepper=PEPPER)
        self.overrides = Overrides(amend=self.amend, live=self.live, clock=clock, entropy=os.urandom)
        self.authenticate = Authenticate(self.live, clock, PEPPER)

    def create(self, by: Authorship, spec: KeySpec = SPEC) -> str:
        return self.administer.create_key(spec, SecretKind.LIVE, by=by).secret

    def rotate(self, by: Authorship, name: str = "ci") -> str:
        return self.administer.rotate_key(name, grace_ms=0, by=by).secret

    def opens(self, secret: str) -> str | None:
        found = self.authenticate(secret)
        return found.key.name if isinstance(found, AuthenticatedKey) else None

    def count(self, table: str) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables[table])) or 0


def set_up(engine: sa.Engine) -> Quota:
    """A quota whose policies let any key be made."""
    quota = Quota(engine, ManualClock())
    quota.administer.apply(OPEN, validate_only=False, by=asked(method="Apply"))
    return quota


def restarted(quota: Quota) -> Quota:
    """A new process over the same database, as after kill -9."""
    return Quota(quota.engine, quota.clock)
