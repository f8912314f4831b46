"""What calls take of allowances while the counters are away, in memory and in the file that all quotas share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.errors import Unavailable
from services.quota.adapters import sqlite_allowances
from services.quota.adapters.sqlite_allowances import SqliteAllowances
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.admission.decision import fits
from services.quota.domain.counters.allowance import Allowance, Taken, day_at
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.ports.counters import ChooseWithin
from tests.worlds.counter_store_load import ENDS_MS, NOW_MS, SPEND, bounded
from tests.worlds.memory_allowances import MemoryAllowances

Opened = Callable[..., SqliteAllowances]

DAY = day_at(NOW_MS)
TEAM, ALL = (Allowance(name, 100).counter(DAY) for name in ("team", "all"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    return tmp_path / "quota.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """Opens the allowances of a quota, as a process of its own does."""
    files: list[SqliteFile] = []

    def open_allowances(quota: int = 1) -> SqliteAllowances:
        files.append(SqliteFile(path))
        return SqliteAllowances(files[-1], quota)

    yield open_allowances
    for file in files:
        file.close()


@pytest.fixture(params=["memory", "sqlite"])
def allowances(request: pytest.FixtureRequest, opened: Opened) -> MemoryAllowances | SqliteAllowances:
    return MemoryAllowances() if request.param == "memory" else opened()


def call(number: int, held: int = 10, *, of: Sequence[object] = (TEAM, ALL)) -> Reservation:
    """Holds the same of both allowances and of a counter."""
    made = bounded(number, None, held)
    taken = tuple(Hold(counter, DAY.end_ms, held) for counter in (TEAM, ALL) if counter in of)
    return replace(made, holds=(*made.holds, *taken))


def always(made: Reservation) -> ChooseWithin[str]:
    return lambda _: (made, made.id)


def taken(allowances: MemoryAllowances | SqliteAllowances) -> list[Taken]:
    return allowances.take([TEAM, ALL], lambda seen: (None, list(seen)))


def kept(allowances: MemoryAllowances | SqliteAllowances, names: Sequence[str] | None = None) -> list[Reservation]:
    found: list[Reservation] = []
    allowances.put_back(found.extend, names)
    return found


def test_what_a_call_holds_of_allowances_is_taken_of_each(allowances: MemoryAllowances | SqliteAllowances) -> None:
    assert taken(allowances) == [(0, 0), (0, 0)]
    allowances.take([TEAM, ALL], always(call(1)))
    allowances.take([TEAM], always(call(2, of=[TEAM])))
    assert taken(allowances) == [(20, 20), (10, 10)]


def test_a_refusal_takes_and_keeps_nothing(allowances: MemoryAllowances | SqliteAllowances) -> None:
    assert allowances.take([TEAM, ALL], lambda _: (None, "refused")) == "refused"
    assert taken(allowances) == [(0, 0), (0, 0)]
    assert kept(allowances) == []


def test_all_else_that_it_holds_is_kept_and_handed_over_once(allowances: MemoryAllowances | SqliteAllowances) -> None:
    calls = [call(number) for number in range(1, 4)]
    for each in calls:
        allowances.take([TEAM, ALL], always(each))
    found = kept(allowances)
    assert [each.id for each in found] == [each.id for each in calls]
    assert found[0] == replace(calls[0], holds=(Hold(SPEND, ENDS_MS, 10),))
    assert kept(allowances) == []
    assert taken(allowances) == [(30, 30), (30, 30)]


def test_what_is_named_is_handed_over_alone(allowances: MemoryAllowances | SqliteAllowances) -> None:
    first, second = call(1), call(2)
    for each in (first, second):
        allowances.take([TEAM, ALL], always(each))
    assert [each.id for each in kept(allowances, [second.id, "unknown"])] == [second.id]
    assert [each.id for each in kept(allowances)] == [first.id]


def test_what_nobody_took_over_stays_kept(allowances: MemoryAllowances | SqliteAllowances) -> None:
    def fail(_: Sequence[Reservation]) -> None:
        raise Unavailable("the counters are away again")

    allowances.take([TEAM, ALL], always(call(1)))
    with pytest.raises(Unavailable):
        allowances.put_back(fail)
    assert len(kept(allowances)) == 1


def test_of_many_calls_at_once_no_more_go_than_there_is_room_for(
    allowances: MemoryAllowances | SqliteAllowances,
) -> None:
    went: list[str] = []

    def ask(first: int) -> None:
        for number in range(first, first + 10):
            made = call(number)

            def choose(seen: Sequence[Taken], made: Reservation = made) -> tuple[Reservation | None, str]:
                return (made, made.id) if fits(seen[0].here, 0, 0, 10, 100) else (None, "")

            if name := allowances.take([TEAM, ALL], choose):
                went.append(name)

    threads = [threading.Thread(target=ask, args=(number * 100,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(went) == 10
    assert taken(allowances)[0].in_all == 100


def test_a_quota_that_is_killed_finds_what_it_took_and_what_it_kept(opened: Opened) -> None:
    made = call(1)
    opened().take([TEAM, ALL], always(made))
    again = opened()
    assert taken(again) == [(10, 10), (10, 10)]
    assert [each.id for each in kept(again)] == [made.id]


def test_quotas_know_what_each_took_and_put_back_for_each_other(opened: Opened) -> None:
    one, two = opened(1), opened(2)
    one.take([TEAM, ALL], always(call(1)))
    two.take([TEAM, ALL], always(call(2, 30)))
    assert taken(one) == [(10, 40), (10, 40)]
    assert taken(two) == [(30, 40), (30, 40)]
    assert len(kept(two)) == 2
    assert kept(one) == []


def test_quotas_that_put_back_at_once_hand_over_each_call_once(opened: Opened) -> None:
    quotas = [opened(number) for number in (1, 2)]
    for number in range(300):
        quotas[number % 2].take([TEAM, ALL], always(call(number)))
    held: list[str] = []

    def hold(some: Sequence[Reservation]) -> None:
        time.sleep(0.02)
        held.extend(each.id for each in some)

    threads = [threading.Thread(target=quota.put_back, args=(hold,)) for quota in quotas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == len(set(held)) == 300


def test_a_quota_decides_again_when_another_one_took_something_meanwhile(opened: Opened) -> None:
    one, two = opened(1), opened(2)
    seen: list[Taken] = []

    def choose(found: Sequence[Taken]) -> tuple[Reservation | None, str]:
        seen.append(found[0])
        if len(seen) == 1:
            two.take([TEAM, ALL], always(call(2)))
        return call(1), "let"

    assert one.take([TEAM, ALL], choose) == "let"
    assert seen == [(0, 0), (0, 10)]
    assert taken(one)[0] == (10, 20)


def test_another_day_begins_at_nothing_and_old_days_are_forgotten(opened: Opened) -> None:
    allowances = opened()
    allowances.take([TEAM], always(call(1, of=[TEAM])))
    kept(allowances)
    later = TEAM._replace(window_start_ms=TEAM.window_start_ms + 8 * 86_400_000)
    assert allowances.take([later], lambda seen: (None, list(seen))) == [(0, 0)]
    made = replace(bounded(2, None), holds=(Hold(later, later.window_start_ms + 86_400_000, 5),))
    allowances.take([later], always(made))
    assert allowances.take([TEAM], lambda seen: (None, list(seen))) == [(0, 0)]
    assert allowances.take([later], lambda seen: (None, list(seen))) == [(5, 5)]


def test_more_than_can_be_kept_is_refused_and_takes_nothing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_allowances, "MOST_KEPT", 2)
    allowances = opened()
    for number in (1, 2):
        allowances.take([TEAM, ALL], always(call(number)))
    with pytest.raises(Unavailable, match="too many calls"):
        allowances.take([TEAM, ALL], always(call(3)))
    assert taken(allowances)[0] == (20, 20)
    kept(allowances)
    allowances.take([TEAM, ALL], always(call(3)))


def test_many_are_handed_over_a_few_at_a_time(opened: Opened) -> None:
    allowances = opened()
    for number in range(250):
        allowances.take([TEAM, ALL], always(call(number)))
    sizes: list[int] = []
    assert allowances.put_back(lambda some: sizes.append(len(some))) == 250
    assert sizes == [32] * 7 + [26]


def test_the_first_call_and_the_last_sum_are_logged(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    allowances = opened()
    for number in (1, 2):
        allowances.take([TEAM, ALL], always(call(number)))
    kept(allowances)
    kept(allowances)
    assert [record.getMessage() for record in caplog.records] == [
        "the counter store fails: calls pass within the allowances of their policies",
        "calls admitted without the counters hold room in them again: 2, at most $0.000000020",
    ]
