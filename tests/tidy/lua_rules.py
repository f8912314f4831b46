"""House rules for Lua, as `rules.py` has them for Python.

No linter or formatter of Lua comes from PyPI, which is all that a fresh machine needs to reach. LuaJIT's own compiler
knows exactly which names are global and where a function ends, and the tests have it anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePath
from typing import Any

from lupa.luajit21 import LuaRuntime

from tests.tidy.rules import MAX_FUNCTION_LINES

MAX_COLUMNS = 120
ENTRY_POINTS = frozenset({"envoy_on_request", "envoy_on_response"})
"""What Envoy looks for in a script."""
_LIBRARY = frozenset(
    {
        *("collectgarbage", "coroutine", "error", "getmetatable", "ipairs", "math", "newproxy", "next", "os", "pairs"),
        *("pcall", "require", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type"),
    }
)
# What the builder of clusters puts before a script, as a local.
_GIVEN = {PurePath("envoy/lua/target.lua"): frozenset({"PROVIDER"})}

# Calls `note(kind, name, line)` for each global that a source reads or sets, `measure(first, last)` for each function.
_ANALYSE = """
local source, note, measure = ...
local util, bit = require("jit.util"), require("bit")
local function code_of(example, at) return bit.band(util.funcbc(assert(loadstring(example)), at), 0xff) end
local kinds = { [code_of("return x", 1)] = "reads", [code_of("local a x = a", 2)] = "sets" }

local function analyse(proto, is_main)
  local info = util.funcinfo(proto)
  if not is_main then measure(info.linedefined, info.lastlinedefined) end
  for at = 1, info.bytecodes - 1 do
    local instruction = util.funcbc(proto, at)
    local kind = kinds[bit.band(instruction, 0xff)]
    if kind then
      note(kind, util.funck(proto, -bit.rshift(instruction, 16) - 1), util.funcinfo(proto, at).currentline)
    end
  end
  for at = 1, info.gcconsts do
    local constant = util.funck(proto, -at)
    if type(constant) == "proto" then analyse(constant, false) end
  end
end

analyse(assert(loadstring(source)), true)
"""


def says_what_it_is(path: PurePath, text: str) -> Iterator[str]:
    """A file begins with a sentence about itself."""
    if not text.startswith("-- "):
        yield f"{path} does not say at its top what it is"


def has_narrow_lines(path: PurePath, text: str) -> Iterator[str]:
    """Lines are as wide as Python's."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number} has {len(line)} columns, {MAX_COLUMNS} are allowed"


def has_short_functions(path: PurePath, text: str) -> Iterator[str]:
    """A function fits on a screen."""
    for first, last in _analysed(text)[1]:
        if last - first >= MAX_FUNCTION_LINES:
            yield f"{path}:{first} has a function of {last - first + 1} lines, {MAX_FUNCTION_LINES} are allowed"


def is_module_or_script(path: PurePath, text: str) -> Iterator[str]:
    """A module returns what it has and leaves no global; a script has nothing but what Envoy calls."""
    is_module = re.search("^return ", text, re.MULTILINE) is not None
    known = {"reads": _LIBRARY | _GIVEN.get(path, frozenset()), "sets": frozenset() if is_module else ENTRY_POINTS}
    for kind, name, line in _analysed(text)[0]:
        if name not in known[kind]:
            yield f"{path}:{line} {kind} the global {name!r}: keep it local, or return it from a module"
    if not is_module and not any(kind == "sets" for kind, _, _ in _analysed(text)[0]):
        yield f"{path} returns nothing, and has nothing that Envoy could call"


@cache
def _analysed(text: str) -> tuple[list[tuple[str, str, int]], list[tuple[int, int]]]:
    """Globals by kind, name and line, and the first and last lines of functions."""
    found: list[tuple[str, str, int]] = []
    functions: list[tuple[int, int]] = []
    runtime: Any = LuaRuntime()
    runtime.execute(_ANALYSE, text, lambda *each: found.append(each), lambda *each: functions.append(each))
    return found, functions
