from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module, new_runtime

LUA = new_runtime()
# Envoy's header map: it is walked by `pairs`, and must not change meanwhile.
NEW_MAP = LUA.execute("""
    local plain_pairs = pairs
    pairs = function(value)
      local meta = getmetatable(value)
      return (meta and meta.__pairs or plain_pairs)(value)
    end
    return function(names)
      local map, walking = { names = names }, false
      function map:remove(name)
        if walking then error("the map changes while it is walked") end
        for at = #self.names, 1, -1 do
          if self.names[at] == name then table.remove(self.names, at) end
        end
      end
      return setmetatable(map, { __pairs = function(self)
        local at = 0
        walking = true
        return function()
          at = at + 1
          if not self.names[at] then walking = false return nil end
          return self.names[at], "value"
        end
      end })
    end
""")
HEADERS = load_module("headers", LUA)

NAMES = st.sampled_from([":path", "accept", "server", "cf-ray", "x-odd", "x-odder", "x-spendgate-policy"])


def keep(names: Iterable[str], passing: Iterable[str] = ("accept",)) -> tuple[list[str], list[str]]:
    """Which headers stay, and which ones are reported."""
    names_of_map = LUA.table_from(list(names))
    expected = LUA.table(names=LUA.table_from({"server": True}), prefixes=LUA.table_from(["cf-"]))
    told: list[str] = []
    HEADERS.keep(NEW_MAP(names_of_map), LUA.table_from(dict.fromkeys(passing, True)), expected, told.append)
    return list(names_of_map.values()), told


@given(st.lists(NAMES, max_size=12), st.sets(NAMES))
def test_exactly_the_named_headers_stay(names: list[str], passing: set[str]) -> None:
    stayed, told = keep(names, passing)
    assert stayed == [name for name in names if name in passing or name == ":path"]
    assert set(told) == set(names) - passing - {":path", "server", "cf-ray"}


def test_of_many_dropped_headers_sixteen_are_reported_and_all_removed() -> None:
    stayed, told = keep([f"x-{at}" for at in range(100)])
    assert (stayed, len(told)) == ([], 16)


@pytest.mark.parametrize("name", ["x" * 65, "x,y", "x>y", "x y", 'x"'])
def test_a_name_that_is_no_plain_name_is_not_reported(name: str) -> None:
    assert HEADERS.add_dropped("a>b", "main", ">", name) == "a>b"


def test_what_is_reported_is_reported_once_and_stays_short() -> None:
    told = ""
    for name in ["x-one", "x-one", *(f"x-{at}-{'n' * 50}" for at in range(60))]:
        told = HEADERS.add_dropped(told, "main", ">", name)
    assert told.startswith("main>x-one,main>x-0-")
    assert told.count("main>x-one") == 1
    assert 900 < len(told) <= 1024
