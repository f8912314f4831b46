"""The same request reaches several threads or processes at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.kernel.change import AuditEntry
from services.kernel.errors import AlreadyExists
from services.quota.adapters.sql_directory import SqlDirectory
from services.quota.domain.directory.directory import Directory
from services.quota.ports.directory import Answering, Contended, RecordedChange
from tests.worlds.repetitions import again, asked
from tests.worlds.shared_directory import Quota, open_engine_in, restarted, set_up


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    with open_engine_in(tmp_path) as engine:
        yield engine


@pytest.fixture
def quota(engine: sa.Engine) -> Quota:
    return set_up(engine)


def test_of_the_same_request_twice_at_once_one_is_done_and_both_get_its_answer(quota: Quota) -> None:
    by, barrier = asked(), threading.Barrier(4)
    processes = [quota, quota, restarted(quota), restarted(quota)]
    secrets: list[str] = []

    def send(process: Quota) -> None:
        barrier.wait()
        secrets.append(process.create(again(by)))

    threads = [threading.Thread(target=send, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(secrets) == 4
    assert len(set(secrets)) == 1
    assert quota.count("virtual_keys") == 1
    assert [process.opens(secrets[0]) for process in processes] == ["ci"] * 4


class Interrupted(SqlDirectory):
    """Lets another process write between the look-up of a request and its change."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        meanwhile, self.meanwhile = self.meanwhile, staticmethod(lambda: None)
        meanwhile()
        return super().replace(change, answering)


class Overtaken(SqlDirectory):
    """Lets another process write while a change is computed."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
        def slow(before: Directory) -> tuple[Directory, Sequence[AuditEntry]]:
            made = change(before)
            meanwhile, self.meanwhile = self.meanwhile, staticmethod(lambda: None)
            meanwhile()
            return made

        return super().replace(slow, answering)


@pytest.mark.parametrize("kind", [Interrupted, Overtaken])
def test_another_process_that_gets_ahead_with_the_same_request_gives_its_answer(
    quota: Quota, kind: type[Interrupted | Overtaken]
) -> None:
    by, told = asked(method="Disable"), list[str]()
    quota.create(asked())
    store = kind(quota.engine)
    late = Quota(quota.engine, quota.clock, store)
    entries = quota.count("audit_entries")

    def ahead() -> None:
        told.append(quota.administer.set_key_disabled("ci", disabled=True, by=again(by)).name)

    store.meanwhile = ahead
    told.append(late.administer.set_key_disabled("ci", disabled=True, by=by).name)

    assert told == ["ci", "ci"]
    assert quota.count("audit_entries") == entries + 1


@pytest.mark.parametrize("kind", [Interrupted, Overtaken])
def test_a_key_that_another_process_just_created_by_the_same_request_is_no_second_one(
    quota: Quota, kind: type[Interrupted | Overtaken]
) -> None:
    by, secrets = asked(), list[str]()
    store = kind(quota.engine)
    late = Quota(quota.engine, quota.clock, store)
    store.meanwhile = lambda: secrets.append(quota.create(again(by)))

    secrets.append(late.create(by))

    assert len(secrets) == 2
    assert len(set(secrets)) == 1
    assert quota.count("virtual_keys") == 1


def test_a_key_that_another_request_just_created_is_refused(quota: Quota) -> None:
    store = Interrupted(quota.engine)
    late = Quota(quota.engine, quota.clock, store)
    store.meanwhile = lambda: quota.create(asked())

    with pytest.raises(AlreadyExists):
        late.create(asked())


def test_a_process_that_others_always_overtake_gives_up(quota: Quota) -> None:
    class Busy(SqlDirectory):
        tries = 0

        def replace(self, change: RecordedChange, answering: Answering | None = None) -> Directory:
            self.tries += 1
            raise Contended("another process changed the directory at the same time: try again")

    store = Busy(quota.engine)
    late = Quota(quota.engine, quota.clock, store)

    with pytest.raises(Contended):
        late.create(asked())
    assert 1 < store.tries < 10
