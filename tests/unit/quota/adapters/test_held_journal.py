from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest

from services.kernel.errors import Unavailable
from services.quota.adapters import held_journal
from services.quota.adapters.held_journal import HeldJournal
from tests.worlds.counter_store_load import bounded

Opened = Callable[..., HeldJournal]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens journals of one gateway, by the number of the quota, that are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda number=1: stack.enter_context(contextlib.closing(HeldJournal(tmp_path, number)))


def held(journal: HeldJournal) -> list[str]:
    return [each.id for each in journal.of_all_quotas()]


def test_what_is_held_outlives_the_process_that_held_it(opened: Opened) -> None:
    made = [bounded(number, 100) for number in range(3)]
    journal = opened()
    for each in made:
        journal.add(each)
    journal.drop([made[1].id])

    again = opened()

    assert again.ids() == [made[0].id, made[2].id]
    first = next(again.of_all_quotas())
    assert (first.id, first.request_id, first.epoch) == (made[0].id, made[0].request_id, made[0].epoch)
    # Its bound does not matter any more.
    assert first.holds == (made[0].holds[0]._replace(ceiling=None),)


def test_each_quota_reads_what_all_of_them_hold(opened: Opened) -> None:
    made = [bounded(number, 100) for number in range(2)]
    for number, each in enumerate(made, start=1):
        opened(number).add(each)

    assert held(opened(3)) == [each.id for each in made]


def test_what_the_store_was_only_asked_for_is_written_but_not_counted_as_made(opened: Opened) -> None:
    journal, made = opened(), bounded(1, 100)
    journal.add(made)

    assert (journal.ids(), held(journal)) == ([], [made.id])
    journal.confirm([made.id])
    assert journal.ids() == [made.id]


def test_a_line_that_was_cut_off_spoils_no_other(opened: Opened, tmp_path: Path) -> None:
    first, cut, last = (bounded(number, 100) for number in range(3))
    journal = opened()
    journal.add(first)
    journal.add(cut)
    file = tmp_path / "held-1.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    journal.add(last)

    assert held(opened(2)) == [first.id, last.id]


def test_the_file_does_not_grow_with_what_has_ended(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_journal, "REWRITE_BYTES", 4_096)
    journal, kept = opened(), bounded(0, 100)
    journal.add(kept)
    for number in range(1, 200):
        journal.add(bounded(number, 100))
        journal.drop([bounded(number, 100).id])

    assert held(journal) == [kept.id]
    assert (tmp_path / "held-1.jsonl").stat().st_size < 6_000


def test_no_more_are_remembered_than_can_be_open(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_journal, "MOST_HELD", 2)
    journal = opened()
    for number in range(4):
        journal.add(bounded(number, 100))

    assert held(journal) == [bounded(2, 100).id, bounded(3, 100).id]


def test_what_cannot_be_written_down_is_not_to_be_held(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_journal, "FileIO", lambda *_: FileIO("/dev/full", "a"))
    journal = opened()

    with pytest.raises(Unavailable, match=r"held-1\.jsonl: .*No space left"):
        journal.add(bounded(1, 100))
    assert held(journal) == []


def test_what_one_quota_made_another_one_can_end(opened: Opened) -> None:
    one, other = opened(1), opened(2)
    made = [bounded(number, 100) for number in range(2)]
    for each in made:
        one.add(each)
    other.drop([made[0].id])

    assert held(opened(3)) == [made[1].id]
