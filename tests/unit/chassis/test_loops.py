from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.chassis.loops import Loop, Stopping, StreamLoop
from services.kernel.errors import Unavailable

_PATIENCE_S = 10.0
_NEVER_MS = 3_600_000
_QUIET_S = 0.15


class Rounds:
    """Rounds that a test hands out: each takes what comes next, and fails or pauses as that says."""

    def __init__(self, *answers: int | Exception | None) -> None:
        self._answers = iter(answers)
        self._begun: queue.Queue[int] = queue.Queue()
        self.count = 0

    def __call__(self) -> int | None:
        self.count += 1
        self._begun.put(self.count)
        answer = next(self._answers, _NEVER_MS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, count: int) -> None:
        """Returns when the round of this number has begun."""
        while self._begun.get(timeout=_PATIENCE_S) < count:
            pass

    def begin_within(self, seconds: float) -> bool:
        """Whether another round begins soon."""
        try:
            self._begun.get(timeout=seconds)
        except queue.Empty:
            return False
        return True


@pytest.fixture
def run() -> Iterator[Callable[..., Loop]]:
    loops: list[Loop] = []

    def start(do: Callable[[], int | None], **changes: Any) -> Loop:
        loop = Loop("sweeping", do, **{"every_ms": 1, "at_once": True, **changes})
        loops.append(loop)
        loop.start()
        return loop

    yield start
    for loop in loops:
        loop.stop()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "spendgate.loops"]


def test_rounds_follow_each_other_without_anybody_waking_them(run: Callable[..., Loop]) -> None:
    rounds = Rounds(None, None)
    run(rounds)
    rounds.wait_for(3)


def test_the_first_round_waits_unless_it_is_to_come_at_once(run: Callable[..., Loop]) -> None:
    waiting = Rounds()
    loop = run(waiting, at_once=False, every_ms=_NEVER_MS)
    loop.stop()
    assert waiting.count == 0


def test_a_wake_ends_the_pause(run: Callable[..., Loop]) -> None:
    rounds = Rounds()
    loop = run(rounds)
    rounds.wait_for(1)
    loop.wake()
    rounds.wait_for(2)


def test_a_wake_during_a_round_is_not_lost(run: Callable[..., Loop]) -> None:
    began, go_on, again = threading.Event(), threading.Event(), threading.Event()

    def do() -> int:
        if began.is_set():
            again.set()
        began.set()
        assert go_on.wait(_PATIENCE_S)
        return _NEVER_MS

    loop = run(do)
    assert began.wait(_PATIENCE_S)
    loop.wake()
    go_on.set()
    assert again.wait(_PATIENCE_S)


def test_a_wake_does_not_shorten_the_pause_after_a_failure_and_a_hurry_does(run: Callable[..., Loop]) -> None:
    rounds = Rounds(Unavailable("away"))
    loop = run(rounds, retry_ms=(_NEVER_MS, _NEVER_MS))
    rounds.wait_for(1)
    loop.wake()
    assert not rounds.begin_within(_QUIET_S)
    loop.hurry()
    rounds.wait_for(2)


def test_each_failure_doubles_the_pause_up_to_a_bound_and_a_success_ends_that() -> None:
    answers: Iterator[Exception | None] = iter([*[Unavailable("away")] * 4, None, Unavailable("away")])

    def do() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    loop = Loop("sweeping", do, every_ms=7, retry_ms=(10, 35))
    assert [loop.run_round() for _ in range(6)] == [10, 20, 35, 35, 7, 10]


def test_an_outage_is_reported_once_for_each_reason_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    away, full = Unavailable("quota is away"), Unavailable("the disk is full")
    rounds = Rounds(away, away, away, full, full, None, None, away)
    loop = Loop("sweeping", rounds, every_ms=1)
    for _ in range(8):
        loop.run_round()
    failed = "sweeping: failed, and is tried again until it works: "
    assert told(caplog) == [
        f"{failed}quota is away",
        f"{failed}the disk is full",
        "sweeping: works again",
        f"{failed}quota is away",
    ]


def test_what_nobody_foresaw_is_reported_with_its_traceback_once_and_does_not_end_the_loop(
    run: Callable[..., Loop], caplog: pytest.LogCaptureFixture
) -> None:
    rounds = Rounds(*[KeyError("gone")] * 3, None)
    run(rounds)
    rounds.wait_for(5)
    (failure,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert failure.exc_info is not None
    assert "KeyError('gone')" in failure.getMessage()


def test_a_stop_ends_the_longest_pause_at_once_and_can_be_said_twice(run: Callable[..., Loop]) -> None:
    rounds = Rounds()
    loop = run(rounds, every_ms=_NEVER_MS)
    rounds.wait_for(1)
    loop.stop()
    loop.stop()
    assert loop.is_stopping
    assert "sweeping" not in {thread.name for thread in threading.enumerate()}


def test_a_stop_waits_for_the_round_at_hand_and_breaks_it_off_where_it_can(run: Callable[..., Loop]) -> None:
    began, broken_off = threading.Event(), threading.Event()
    ended: list[bool] = []

    def do() -> None:
        began.set()
        ended.append(broken_off.wait(_PATIENCE_S))

    loop = run(do, stopping=Stopping(broken_off.set))
    assert began.wait(_PATIENCE_S)
    loop.stop()
    assert ended == [True]


def test_a_round_that_does_not_end_is_left_behind_with_a_word(
    run: Callable[..., Loop], caplog: pytest.LogCaptureFixture
) -> None:
    began, let_go = threading.Event(), threading.Event()

    def do() -> None:
        began.set()
        let_go.wait(_PATIENCE_S)

    loop = run(do, stopping=Stopping(wait_ms=1))
    assert began.wait(_PATIENCE_S)
    loop.stop()
    let_go.set()
    assert told(caplog) == ["sweeping is still in the middle of a round and is left behind"]


def test_a_loop_that_never_started_can_be_stopped() -> None:
    Loop("sweeping", Rounds(), every_ms=1).stop()


class Peer:
    """Opens streams that a test feeds. An exception breaks a stream, None ends it."""

    def __init__(self) -> None:
        self.opened: queue.Queue[Answers] = queue.Queue()

    def open(self) -> Answers:
        answers = Answers()
        self.opened.put(answers)
        return answers

    def next_stream(self) -> Answers:
        return self.opened.get(timeout=_PATIENCE_S)


class Answers:
    def __init__(self) -> None:
        self.queue: queue.Queue[str | Exception | None] = queue.Queue()

    def __iter__(self) -> Iterator[str]:
        while (answer := self.queue.get(timeout=_PATIENCE_S)) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield answer

    def cancel(self) -> bool:
        self.queue.put(Unavailable("cancelled by us"))
        return True


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def taken() -> queue.Queue[str]:
    return queue.Queue()


@pytest.fixture
def stream(peer: Peer, taken: queue.Queue[str]) -> Iterator[StreamLoop]:
    loop = StreamLoop("plans", peer.open, taken.put)
    loop.start()
    yield loop
    loop.stop()


@pytest.mark.usefixtures("stream")
def test_a_stream_that_broke_is_opened_again_and_reported_once(
    peer: Peer, taken: queue.Queue[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        peer.next_stream().queue.put(Unavailable("the router is away"))
    peer.next_stream().queue.put("plan 1")
    assert taken.get(timeout=_PATIENCE_S) == "plan 1"
    assert [text.rpartition(": ")[2] for text in told(caplog)][:1] == ["the router is away"]
    assert len(told(caplog)) <= 2


def test_a_stream_is_swapped_for_another_at_once_and_without_a_word(
    stream: StreamLoop, peer: Peer, taken: queue.Queue[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = peer.next_stream()
    first.queue.put("for one target")
    assert taken.get(timeout=_PATIENCE_S) == "for one target"
    stream.reopen()
    peer.next_stream().queue.put("for two")
    assert taken.get(timeout=_PATIENCE_S) == "for two"
    assert told(caplog) == []


def test_a_stop_cancels_the_stream_and_opens_no_other(stream: StreamLoop, peer: Peer) -> None:
    peer.next_stream()
    stream.stop()
    assert peer.opened.empty()
    assert "plans" not in {thread.name for thread in threading.enumerate()}
