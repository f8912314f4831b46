from __future__ import annotations

import threading
from functools import partial
from itertools import product

import pytest

from services.chassis.runtime import Closers, Runtime


class Part:
    """Notes what is done to it, and fails where it is told to."""

    def __init__(self, name: str, notes: list[str], fails: str = "") -> None:
        self.name = name
        self._notes = notes
        self._fails = fails

    def start(self) -> None:
        self._do("start")

    def stop(self) -> None:
        self._do("stop")

    def close(self) -> None:
        self._do("close")

    def _do(self, step: str) -> None:
        self._notes.append(f"{step} {self.name}")
        if f"{step} {self.name}" == self._fails:
            raise RuntimeError(f"{self.name} is broken")


def runtime(notes: list[str], fails: str = "", stopping: threading.Event | None = None) -> Runtime:
    parts = {name: Part(name, notes, fails) for name in ("checks", "admin", "plans", "forgetting")}
    closers = Closers()
    for name in ("database", "channel"):
        closers.add(name, Part(name, notes, fails).close)
    return Runtime(
        servers=[parts["checks"], parts["admin"]],
        loops=[parts["plans"], parts["forgetting"]],
        closers=closers,
        stopping=stopping,
    )


STARTED = ["start checks", "start admin", "start plans", "start forgetting"]
STOPPED = ["stop forgetting", "stop plans", "stop admin", "stop checks", "close channel", "close database"]


def test_it_starts_servers_then_loops_and_stops_all_in_reverse() -> None:
    notes: list[str] = []
    service = runtime(notes)
    service.start()
    assert notes == STARTED
    service.stop()
    assert notes[len(STARTED) :] == STOPPED


@pytest.mark.parametrize("at", range(4))
def test_a_start_that_fails_stops_what_had_started_and_closes_everything(
    at: int, caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[str] = []
    name = STARTED[at].partition(" ")[2]
    with pytest.raises(RuntimeError, match=f"{name} is broken"):
        runtime(notes, fails=STARTED[at]).start()
    assert notes == STARTED[: at + 1] + STOPPED[3 - at :]
    assert f"{name} could not be started; what runs is stopped" in caplog.messages


@pytest.mark.parametrize("step", STOPPED)
def test_a_stop_that_fails_is_reported_and_holds_nothing_up(step: str, caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []
    service = runtime(notes, fails=step)
    service.start()
    service.stop()
    assert notes == STARTED + STOPPED
    verb, name = step.split()
    (told,) = caplog.records
    assert told.getMessage() == f"{name} could not be {'stopped' if verb == 'stop' else 'closed'}"
    assert told.exc_info is not None


def test_nothing_is_stopped_or_closed_twice() -> None:
    notes: list[str] = []
    service = runtime(notes)
    service.start()
    service.stop()
    service.stop()
    assert notes == STARTED + STOPPED


def test_streams_and_long_rounds_hear_of_the_end_before_anything_is_stopped() -> None:
    stopping, seen = threading.Event(), []

    class Watching(Part):
        def stop(self) -> None:
            seen.append(stopping.is_set())

    service = Runtime(servers=[Watching("checks", [])], loops=[], closers=Closers(), stopping=stopping)
    service.start()
    assert not stopping.is_set()
    service.stop()
    assert seen == [True]


@pytest.mark.parametrize(("fails", "opened"), list(product([False, True], range(3))))
def test_a_service_that_is_half_built_leaves_nothing_open(fails: bool, opened: int) -> None:
    notes: list[int] = []

    def build() -> Closers:
        with Closers() as closers:
            for number in range(opened):
                closers.add(f"number {number}", partial(notes.append, number))
            if fails:
                raise RuntimeError("no room")
            return closers

    if fails:
        with pytest.raises(RuntimeError, match="no room"):
            build()
    else:
        build().close()
    assert notes == list(reversed(range(opened)))
