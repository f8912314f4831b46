"""The real Envoy's spool, booked: how each way in which a call can end is charged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from services.kernel.clock import ManualClock
from services.kernel.dialect import Dialect
from services.kernel.usage import CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage
from services.ledger.adapters.spool import SpoolFolder, SpoolLimits, reopen_logs_at
from services.ledger.adapters.sql_books import SqlBooks
from services.ledger.adapters.sql_outbox import SqlOutbox
from services.ledger.adapters.sql_reports import SqlReports
from services.ledger.adapters.sql_tables import attempts
from services.ledger.domain.entry import BookedCall
from services.ledger.domain.selection import CallQuery
from services.ledger.usecases.book import Book
from tests.worlds.data_plane import DataPlane
from tests.worlds.data_plane_provider import Answer
from tests.worlds.ports import free_port
from tests.worlds.spool_lines import NoTraces, book_of, open_database, price_of

pytestmark = pytest.mark.e2e

CHAT = {"model": "asked", "messages": [{"role": "user", "content": "hello"}]}
PATHS = {"gem": "/v1beta/models/asked:generateContent", "claude": "/v1/messages"}
EXPECTED = Usage(10, 20)
IMPATIENT = {"headers": {"x-envoy-upstream-rq-per-try-timeout-ms": "150"}}
HANGS = Answer(delay_s=3)
STREAM = {"content-type": "text/event-stream"}


@pytest.fixture(scope="module")
def started() -> Iterator[DataPlane]:
    with DataPlane() as plane:
        plane.add_provider("second")
        plane.add_provider("gem", dialect=Dialect.GEMINI)
        plane.add_provider("claude", dialect=Dialect.ANTHROPIC)
        plane.add_dead_provider("dead", free_port())
        plane.publish()
        plane.wait(lambda: "claude.anthropic" in plane.envoy_admin("/clusters"), "Envoy knows the clusters")
        yield plane


@pytest.fixture
def plane(started: DataPlane) -> DataPlane:
    started.clear()
    return started


def reported(document: dict[str, Any]) -> Answer:
    return Answer(body=json.dumps(document).encode())


def booked(plane: DataPlane, folder: Path) -> BookedCall:
    """Books what is in the spool once the call's line is there."""
    plane.calls()
    database = open_database(folder)
    book: Book = book_of(plane.folder, database)
    book.run_pass()
    (call,) = SqlReports(database).calls(CallQuery(), None, 10)
    assert SqlReports(database).count_unreadable() == 0
    return call


def post(plane: DataPlane, target: str, timeout_s: float = 10) -> None:
    # Gemini names the model in the path, and nowhere else.
    body = {"contents": []} if target == "gem" else CHAT
    try:
        plane.client.post(PATHS.get(target, "/v1/chat/completions"), json=body, timeout=timeout_s)
    except httpx.HTTPError:
        # The client left, or its stream was cut: how does the ledger charge that?
        return


OPENAI_USAGE = {
    "prompt_tokens": 75,
    "completion_tokens": 1_186,
    "total_tokens": 1_261,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 1_024},
}
ANTHROPIC_USAGE = {
    "input_tokens": 21,
    "output_tokens": 393,
    "cache_read_input_tokens": 188_086,
    "cache_creation_input_tokens": 100,
}
GEMINI_USAGE = {
    "promptTokenCount": 1_000,
    "candidatesTokenCount": 100,
    "thoughtsTokenCount": 7,
    "cachedContentTokenCount": 900,
    "totalTokenCount": 1_107,
}
NOTHING_USED = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    ("target", "document", "usage"),
    [
        ("main", {"usage": OPENAI_USAGE}, Usage(75, 1_186, {CACHED_INPUT: 64, REASONING: 1_024})),
        ("main", {"usage": NOTHING_USED}, Usage()),
        (
            "claude",
            {"usage": ANTHROPIC_USAGE},
            Usage(188_207, 393, {CACHED_INPUT: 188_086, CACHE_WRITE_5M: 100}),
        ),
        ("gem", {"usageMetadata": GEMINI_USAGE}, Usage(1_000, 107, {CACHED_INPUT: 900, REASONING: 7})),
    ],
)
def test_the_providers_count_is_booked_with_all_its_parts(
    plane: DataPlane, tmp_path: Path, target: str, document: dict[str, Any], usage: Usage
) -> None:
    plane.quota.decide = lambda _: plane.allow(target)
    plane.provider(target).answer = lambda _: reported(document)
    post(plane, target)

    call = booked(plane, tmp_path)

    assert (call.usage, call.usage_source, call.model_served) == (usage, "provider", f"{target}/up")


@pytest.mark.parametrize(
    ("chain", "first", "booked_as"),
    [
        (["main"], Answer(status=500), (Usage(), "none")),
        (["main"], Answer(status=429), (Usage(), "none")),
        (["dead"], None, (Usage(), "none")),
        (["dead", "dead"], None, (Usage(), "none")),
        (["main"], HANGS, (EXPECTED, "estimated")),
        (
            ["main"],
            Answer(chunks=(b'data: {"choices":[]}\n\n',), headers=STREAM, cut=True),
            (EXPECTED, "estimated"),
        ),
        (["main"], Answer(body=b'{"choices":[]}'), (EXPECTED, "estimated")),
    ],
)
def test_an_end_without_a_count_is_booked_for_what_it_may_have_cost(
    plane: DataPlane, tmp_path: Path, chain: list[str], first: Answer | None, booked_as: tuple[Usage, str]
) -> None:
    plane.quota.decide = lambda _: plane.allow(*chain, **IMPATIENT)
    if first is not None:
        plane.provider(chain[0]).answer = lambda _: first
    post(plane, chain[0])

    call = booked(plane, tmp_path)

    assert (call.usage, call.usage_source) == booked_as


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (HANGS, EXPECTED),
        (Answer(chunks=(b'data: {"choices":[]}\n\n', 5.0, b"x"), headers=STREAM), EXPECTED),
    ],
)
def test_a_client_that_leaves_does_not_leave_its_bill(
    plane: DataPlane, tmp_path: Path, answer: Answer, usage: Usage
) -> None:
    plane.provider("main").answer = lambda _: answer
    post(plane, "main", timeout_s=0.4)

    call = booked(plane, tmp_path)

    assert (call.usage, call.usage_source, call.model_served) == (usage, "estimated", "main/up")


@pytest.mark.parametrize("hangs_up", [False, True])
def test_an_attempt_that_never_answered_is_added_to_the_one_that_did(
    plane: DataPlane, tmp_path: Path, *, hangs_up: bool
) -> None:
    plane.quota.decide = lambda _: plane.allow("main", "second", **IMPATIENT)
    plane.provider("main").answer = lambda _: HANGS
    plane.provider("main").hang_up = hangs_up
    plane.provider("second").answer = lambda _: reported({"usage": OPENAI_USAGE})
    post(plane, "main")

    call = booked(plane, tmp_path)

    assert (call.usage.input_tokens, call.usage.output_tokens) == (75 + 10, 1_186 + 20)
    assert (call.usage_source, call.model_served) == ("estimated", "second/up")
    assert [(each.target, each.status, each.failure) for each in call.attempts] == [
        ("main/up", 0, "reset" if hangs_up else "timeout"),
        ("second/up", 200, ""),
    ]


def test_an_attempt_that_failed_at_once_adds_nothing(plane: DataPlane, tmp_path: Path) -> None:
    plane.quota.decide = lambda _: plane.allow("dead", "main")
    plane.provider("main").answer = lambda _: reported({"usage": OPENAI_USAGE})
    post(plane, "dead")

    call = booked(plane, tmp_path)

    assert (call.usage.total_tokens, call.usage_source) == (1_261, "provider")
    assert [(each.target, each.failure) for each in call.attempts] == [("dead/up", "refused"), ("main/up", "")]


def test_a_client_that_leaves_during_the_check_leaves_a_reservation_to_release(
    plane: DataPlane, tmp_path: Path
) -> None:
    plane.quota.delay_s = 1.0
    post(plane, "main", timeout_s=0.2)
    (line,) = plane.calls()
    database = open_database(tmp_path)

    book_of(plane.folder, database).run_pass()

    assert SqlOutbox(database).pending_releases(10) == [line["id"]]
    assert SqlReports(database).count_booked() == 0


def test_rotation_under_traffic_loses_no_line(plane: DataPlane, tmp_path: Path) -> None:
    count = 200
    # Long ago, so that no file is old enough to be deleted.
    clock = ManualClock(0)
    folder = SpoolFolder(
        plane.folder / "spool",
        tmp_path / "refused.jsonl",
        SpoolLimits(file_bytes=4_096),
        reopen_logs_at(str(plane.folder / "run" / "envoy-admin.sock")),
        clock,
    )
    database = open_database(tmp_path)
    book = Book(
        spool=folder,
        books=SqlBooks(database),
        price_of=price_of,
        traces=NoTraces(),
        clock=clock,
    )
    reservations = iter(range(count))
    plane.quota.decide = lambda _: plane.allow("main", reservation=f"rsv_{next(reservations)}")

    def send() -> None:
        for _ in range(count):
            post(plane, "main")

    sender = threading.Thread(target=send)
    sender.start()

    def all_are_booked() -> bool:
        book.tidy()
        book.run_pass()
        return SqlReports(database).count_booked() == count

    plane.wait(all_are_booked, "every call is booked", seconds=20)
    sender.join()
    # It was rotated while Envoy wrote, or this proves nothing.
    assert len(folder.files()) > 2
    with database.read() as connection:
        recorded = connection.scalar(sa.select(sa.func.count()).select_from(attempts))
    assert recorded == count
