from __future__ import annotations

import pytest

from tests.worlds.lua_scripts import load_module, new_runtime

RUNTIME = new_runtime()
WAITING = load_module("waiting", RUNTIME)


RUN = """
local room, bytes, requests, drop = ...
local waiting = {}
for number = 1, requests do
  waiting[number] = coroutine.create(function()
    local give_back = room.take(bytes)
    coroutine.yield()
    give_back()
  end)
  coroutine.resume(waiting[number])
end
local before = room.taken()
if drop then waiting = {} end
collectgarbage() collectgarbage()
local after = room.taken()
for _, request in ipairs(waiting) do coroutine.resume(request) end
return before, after, room.taken()
"""
"""Requests that wait for a body, and then go on, unless they are dropped as Envoy drops those whose client left."""


@pytest.mark.parametrize(
    ("length", "size"),
    [("0", 0), ("32768", 32768), ("0007", 7), (None, None), ("", None), ("-1", None), ("1e9", None), ("9" * 40, None)],
)
def test_a_size_is_announced_by_digits_alone(length: str | None, size: int | None) -> None:
    headers = RUNTIME.eval("function(length) return { get = function() return length end } end")(length)
    assert WAITING.announced(headers) == size


def test_what_is_taken_is_counted_until_it_is_given_back_once() -> None:
    room = WAITING.room(100)
    give_back = room.take(60)
    assert room.taken() == 60
    assert room.take(41) is None
    assert room.take(40) is not None
    give_back()
    give_back()
    assert room.taken() == 40


def test_a_holder_has_no_more_than_its_own_part() -> None:
    room = WAITING.room(100, 50)
    give_back = room.take(50, "one")
    assert room.take(1, "one") is None
    assert room.take(50, "other") is not None
    assert room.take(1, "third") is None
    give_back()
    assert room.take(50, "one") is not None


def test_the_room_of_a_request_that_never_came_back_returns() -> None:
    assert RUNTIME.execute(RUN, WAITING.room(1000), 1, 300, True) == (300, 0, 0)


def test_the_room_of_a_request_that_waits_stays_taken_until_its_body_is_there() -> None:
    assert RUNTIME.execute(RUN, WAITING.room(1000), 7, 100, False) == (700, 700, 0)
