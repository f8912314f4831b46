from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.chassis.line_text import write_line_text
from services.kernel.clock import ManualClock
from services.kernel.spool_contract import AdmittedKey, RequestedKey
from services.ledger.adapters.spool import BATCH_LINES_MAX, LINE_BYTES_MAX, SpoolFolder, SpoolLimits
from services.ledger.domain.spooled import SpoolBatch
from tests.worlds.spool_lines import EPOCH, attempt_fields, call, call_fields, line, spool_of, write_lines

LATER = "local-1795464000001"


def live(folder: Path, epoch: str = EPOCH) -> Path:
    path = folder / "spool" / f"{epoch}.jsonl"
    path.parent.mkdir(exist_ok=True)
    return path


def read_all(spool: SpoolFolder) -> list[SpoolBatch]:
    batches = []
    for file in spool.files():
        offset = 0
        while batch := spool.read(file, offset):
            assert batch.end > offset
            offset = batch.end
            batches.append(batch)
    return batches


def test_an_absent_folder_is_an_empty_spool(tmp_path: Path) -> None:
    assert spool_of(tmp_path, ManualClock()).files() == []


def test_lines_are_read_with_the_offset_after_them(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [attempt_fields(1), call_fields(1)])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert [call.request_id for call in batch.calls] == ["request-1"]
    assert [attempt.attempt for attempt in batch.attempts] == [1]
    assert batch.end == live(tmp_path).stat().st_size


def test_metadatas_floating_numbers_are_counts(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [call_fields(expected_input_tokens=12.0, body_bytes=12_500.0)])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert (batch.calls[0].expected.input_tokens, batch.calls[0].body_bytes) == (12, 12_500)


def line_text(members: dict[str, Any]) -> str:
    return write_line_text(json.dumps(members)[1:-1])


@pytest.mark.parametrize("write", [line_text, json.dumps], ids=["now", "by the previous release"])
def test_what_others_say_of_a_call_is_read_from_their_texts(tmp_path: Path, write: Callable[[Any], str]) -> None:
    fields = call_fields()
    requested = write({name: fields.pop(name) for name in set(RequestedKey) & fields.keys()})
    admitted = write({name: fields.pop(name) for name in set(AdmittedKey) & fields.keys()})
    write_lines(live(tmp_path), [{**fields, "requested": requested, "admitted": admitted}])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert batch.calls == (call(),)


@pytest.mark.parametrize(
    "decided", [{"began_us": 5, "reason": "within_limits"}, '{"began_us":5,"reason":"within_limits"}']
)
def test_what_was_decided_is_one_text_for_the_span(tmp_path: Path, decided: object) -> None:
    write_lines(live(tmp_path), [call_fields(admitted=line_text({"decided": decided}))])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert batch.calls[0].decided == '{"began_us":5,"reason":"within_limits"}'


def test_quotas_word_wins_over_the_requests(tmp_path: Path) -> None:
    fields = call_fields()
    for name in ("reservation", "key_id"):
        fields.pop(name, None)
    said = {"requested": line_text({"reservation": "forged"}), "admitted": line_text({"reservation": "rsv_1"})}
    write_lines(live(tmp_path), [fields | said])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert batch.calls[0].reservation == "rsv_1"


def test_a_field_of_envoys_own_wins_over_one_that_a_text_claims(tmp_path: Path) -> None:
    claimed = json.dumps({"status": 500, "reservation": "rsv_2", "model_requested": "m"})
    fields = {**call_fields(), "requested": claimed}
    write_lines(live(tmp_path), [fields])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert (batch.calls[0].status, batch.calls[0].reservation) == (200, "reservation-1")


@pytest.mark.parametrize("text", ["{", "[]", "1", '"x"', 5, {"team": "blue"}])
def test_a_text_that_is_no_object_makes_its_line_unreadable_and_no_other(tmp_path: Path, text: object) -> None:
    write_lines(live(tmp_path), [call_fields(1, admitted=text), call_fields(2)])

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert [each.reason for each in batch.unreadable] == ["admitted is not a JSON object"]
    assert [call.request_id for call in batch.calls] == ["request-2"]


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    whole = line(call_fields(1))
    live(tmp_path).write_bytes(whole + whole[:40])
    spool = spool_of(tmp_path, ManualClock())

    (batch,) = read_all(spool)
    assert batch.end == len(whole)
    assert spool.read(batch.file, batch.end) is None

    live(tmp_path).write_bytes(whole + whole)
    assert spool.read(batch.file, batch.end) is not None


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [attempt_fields(number) for number in range(BATCH_LINES_MAX + 1)])

    assert [batch.lines for batch in read_all(spool_of(tmp_path, ManualClock()))] == [BATCH_LINES_MAX, 1]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\x00\xff\xfe",
        b'{"kind":"call"}',
        b'{"kind":"call","id":"\\ud800"}',
        line(call_fields(status="many")).rstrip(),
        b"x" * (LINE_BYTES_MAX + 1),
        b"x" * (5 * LINE_BYTES_MAX),
    ],
    ids=lambda bad: repr(bad[:24]),
)
def test_a_line_that_cannot_be_read_is_set_aside_and_stops_nothing(tmp_path: Path, bad: bytes) -> None:
    first, last = line(call_fields(1)), line(call_fields(2))
    live(tmp_path).write_bytes(first + bad + b"\n" + last)

    batches = read_all(spool_of(tmp_path, ManualClock()))

    assert [call.request_id for batch in batches for call in batch.calls] == ["request-1", "request-2"]
    ((offset, size),) = [(each.offset, each.size_bytes) for batch in batches for each in batch.unreadable]
    assert (offset, size) == (len(first), len(bad) + 1)


def test_empty_lines_are_no_lines(tmp_path: Path) -> None:
    live(tmp_path).write_bytes(b"\n \n" + line(call_fields(1)))

    (batch,) = read_all(spool_of(tmp_path, ManualClock()))

    assert batch.lines == 1


def test_an_earlier_epoch_of_the_same_node_is_closed_and_comes_first(tmp_path: Path) -> None:
    for epoch in (LATER, EPOCH, "other-1795464000009"):
        write_lines(live(tmp_path, epoch), [attempt_fields()])

    files = spool_of(tmp_path, ManualClock()).files()

    assert [(file.epoch, file.is_closed) for file in files] == [
        (EPOCH, True),
        (LATER, False),
        ("other-1795464000009", False),
    ]


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.jsonl", "local-123.jsonl", f"{EPOCH}.jsonl.gz", f"{EPOCH}.x.jsonl"):
        (live(tmp_path).parent / name).write_bytes(b"{}\n")

    assert spool_of(tmp_path, ManualClock()).files() == []


def test_what_is_cut_off_at_the_end_of_a_closed_file_is_set_aside(tmp_path: Path) -> None:
    whole = line(call_fields(1))
    live(tmp_path).write_bytes(whole + whole[:40])
    write_lines(live(tmp_path, LATER), [])

    batches = read_all(spool_of(tmp_path, ManualClock()))

    assert [(each.offset, each.size_bytes) for batch in batches for each in batch.unreadable] == [(len(whole), 40)]


def test_a_large_file_is_rotated_and_keeps_its_identity(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [call_fields(number) for number in range(10)])
    spool = spool_of(tmp_path, ManualClock(), file_bytes=4_096)
    (before,) = spool.files()

    spool.tidy({})
    (renamed,) = spool.files()
    assert renamed.identity == before.identity
    assert renamed.name == f"{EPOCH}.1.jsonl"
    # Envoy still writes to it until it has opened the next.
    assert not renamed.is_closed

    write_lines(live(tmp_path), [call_fields(number) for number in range(10, 20)])
    assert [(file.name, file.is_closed) for file in spool.files()] == [
        (f"{EPOCH}.1.jsonl", True),
        (f"{EPOCH}.jsonl", False),
    ]
    spool.tidy({})
    assert [file.name for file in spool.files()] == [f"{EPOCH}.1.jsonl", f"{EPOCH}.2.jsonl"]


def test_envoy_is_asked_again_until_it_has_opened_its_log_anew(tmp_path: Path) -> None:
    asked: list[bool] = []

    def reopen() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise FileNotFoundError("no such socket")
        write_lines(live(tmp_path), [])

    limits = SpoolLimits(file_bytes=10)
    spool = SpoolFolder(tmp_path / "spool", tmp_path / "refused.jsonl", limits, reopen, ManualClock())
    write_lines(live(tmp_path), [call_fields()])

    for _ in range(3):
        spool.tidy({})

    assert len(asked) == 2


def test_envoy_is_asked_again_while_it_writes_to_the_old_copy_of_the_refused(tmp_path: Path) -> None:
    asked: list[bool] = []
    log = tmp_path / "refused.jsonl"

    def reopen() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise FileNotFoundError("no such socket")
        log.touch()

    (tmp_path / "spool").mkdir()
    spool = SpoolFolder(tmp_path / "spool", log, SpoolLimits(refused_bytes=10), reopen, ManualClock())
    log.write_text("longer than ten bytes")

    for _ in range(3):
        spool.tidy({})

    assert len(asked) == 2


def test_a_file_is_deleted_only_when_it_is_closed_and_booked_and_old(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [call_fields()])
    write_lines(live(tmp_path, LATER), [call_fields()])
    os.utime(live(tmp_path), (1_000, 1_000))
    os.utime(live(tmp_path, LATER), (1_000, 1_000))
    clock = ManualClock(1_000_000 + 60_000)
    spool = spool_of(tmp_path, clock, keep_ms=60_000)
    booked = {file.identity: live(tmp_path).stat().st_size for file in spool.files()}
    closed = spool.files()[0]

    assert spool.tidy(booked) == []
    clock.advance(1)
    assert spool.tidy({}) == []
    assert spool.tidy({closed.identity: booked[closed.identity] - 1}) == []
    assert spool.tidy(booked) == [closed]
    assert [file.epoch for file in spool.files()] == [LATER]


def test_the_log_of_refused_requests_has_one_old_copy(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    spool = spool_of(tmp_path, ManualClock(), refused_bytes=10)

    for content in ("first and long", "second and long"):
        (logs / "refused.jsonl").write_text(content)
        spool.tidy({})

    assert [(path.name, path.read_text()) for path in logs.iterdir()] == [("refused.1.jsonl", "second and long")]


def test_the_backlog_is_what_lies_after_the_checkpoints(tmp_path: Path) -> None:
    write_lines(live(tmp_path), [call_fields()])
    spool = spool_of(tmp_path, ManualClock())
    size = live(tmp_path).stat().st_size

    assert spool.backlog_bytes({}) == size
    assert spool.backlog_bytes({spool.files()[0].identity: 100}) == size - 100
