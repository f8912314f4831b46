from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator

import pytest

from services.chassis.workers import Workers

WITHIN_S = 10


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(3)
    yield made
    made.shutdown()


def test_as_many_calls_run_at_once_as_there_are_threads(workers: Workers) -> None:
    all_there = threading.Barrier(4)

    for _ in range(3):
        workers.submit(all_there.wait, WITHIN_S)

    all_there.wait(WITHIN_S)


def test_a_callback_is_called_once_whether_it_comes_before_the_end_or_after(workers: Workers) -> None:
    may_end, ended, told = threading.Event(), threading.Event(), list[str]()
    call = workers.submit(may_end.wait, WITHIN_S)
    call.add_done_callback(lambda _: told.append("before"))
    call.add_done_callback(lambda _: ended.set())
    assert told == []
    may_end.set()
    assert ended.wait(WITHIN_S)
    while "before" not in told:
        ended.wait(0.001)

    call.add_done_callback(lambda _: told.append("after"))

    assert told == ["before", "after"]


def test_a_call_that_fails_is_logged_and_its_thread_takes_the_next_one(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    ran = threading.Semaphore(0)

    def fails() -> None:
        ran.release()
        raise RuntimeError("the wire is cut")

    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            workers.submit(fails)
        for _ in range(10):
            assert ran.acquire(timeout=WITHIN_S)
        workers.shutdown()

    assert caplog.text.count("RuntimeError: the wire is cut") == 10


def test_a_call_that_is_over_is_not_kept_in_memory(workers: Workers) -> None:
    class Message:
        pass

    ended = threading.Event()
    message = Message()
    gone = weakref.ref(message)
    workers.submit(id, message).add_done_callback(lambda _: ended.set())
    del message
    assert ended.wait(WITHIN_S)

    for _ in range(1_000):
        gc.collect()
        if gone() is None:
            break
        threading.Event().wait(0.001)

    assert gone() is None


def test_calls_submitted_before_the_end_still_run() -> None:
    workers, ran = Workers(1), list[int]()
    for number in range(100):
        workers.submit(ran.append, number)
    last = threading.Event()
    workers.submit(last.set)

    workers.shutdown()

    assert last.wait(WITHIN_S)
    assert ran == list(range(100))
