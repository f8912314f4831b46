"""Each house rule refuses its bad examples and passes its good ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath

import pytest

from tests.tidy import lua_rules, rules

Rule = Callable[[PurePath, str], Iterator[str]]

LONG_FUNCTION = "def long():\n" + "    pass\n" * rules.MAX_FUNCTION_LINES
LONG_LUA = "local function long()\n" + "  print()\n" * (rules.MAX_FUNCTION_LINES - 1) + "end\n"
UNFINISHED = "# " + "TO" + "DO: later\n"

REFUSED: list[tuple[Rule, str, str]] = [
    (rules.is_short, "a.py", "x\n" * (rules.MAX_FILE_LINES + 1)),
    (rules.has_short_functions, "a.py", LONG_FUNCTION),
    (rules.has_short_functions, "a.py", LONG_FUNCTION.replace("def", "async def", 1)),
    (rules.has_a_telling_name, "services/quota/utils.py", ""),
    (rules.has_a_telling_name, "services/common/money.py", ""),
    (rules.is_finished, "a.py", UNFINISHED),
    (rules.has_clean_ends, "a.py", "x = 1"),
    (rules.has_clean_ends, "a.py", "x = 1 \n"),
    (rules.has_clean_ends, "a.py", "x = 1\n\n"),
    (rules.names_no_machine, "a.py", 'x = "' + "/ro" + 'ot/x"\n'),
    (rules.reads_no_clock, "a.py", "datetime.now(UTC)\n"),
    (rules.reads_no_clock, "a.py", "import time\ntime.time()\n"),
    (rules.reads_no_clock, "a.py", "from time import time\n"),
    (rules.reads_no_environment, "a.py", "os.environ['HOME']\n"),
    (rules.reads_no_environment, "a.py", "from os import environ\n"),
    (rules.counts_in_integers, "a.py", "cost = 0.1\n"),
    (rules.counts_in_integers, "a.py", "cost = held / 2\n"),
    (rules.counts_in_integers, "a.py", "def cost() -> float: ...\n"),
    (rules.touches_no_private_name, "a.py", "store._engine.dispose()\n"),
    (rules.touches_no_private_name, "a.py", "from services.router.main import _wire\n"),
    (rules.touches_no_private_name, "a.py", "from services._hidden import wire\n"),
    (rules.touches_no_private_name, "a.py", "monkeypatch.setattr(store, '_link', None)\n"),
    (rules.touches_no_private_name, "a.py", "monkeypatch.setattr('services.router.main._wire', None)\n"),
    (rules.touches_no_private_name, "a.py", "getattr(store, '_link')\n"),
    (lua_rules.says_what_it_is, "a.lua", "local a = {}\nreturn a\n"),
    (lua_rules.has_narrow_lines, "a.lua", "-- " + "x" * 118 + "\n"),
    (lua_rules.has_short_functions, "a.lua", LONG_LUA),
    (lua_rules.is_module_or_script, "a.lua", "local a = {}\nfunction b() end\nreturn a\n"),
    (lua_rules.is_module_or_script, "a.lua", "local function a() return function() b = 1 end end\nreturn a\n"),
    (lua_rules.is_module_or_script, "a.lua", "local a = {}\nfunction a.b() return strng.byte end\nreturn a\n"),
    (lua_rules.is_module_or_script, "a.lua", "function envoy_on_request() end\nreturn {}\n"),
    (lua_rules.is_module_or_script, "a.lua", "function take() end\nfunction envoy_on_request() end\n"),
    (lua_rules.is_module_or_script, "a.lua", "local function take() end\n"),
    (lua_rules.is_module_or_script, "a.lua", "function envoy_on_request() PROVIDER.x = 1 end\n"),
]

PASSED: list[tuple[Rule, str, str]] = [
    (rules.is_short, "a.py", "x\n" * rules.MAX_FILE_LINES),
    (rules.has_short_functions, "a.py", LONG_FUNCTION.replace("    pass\n", "", 1)),
    (rules.has_a_telling_name, "services/quota/domain/admission/decision.py", ""),
    (rules.is_finished, "a.py", "methodology = 'todos'\n"),
    (rules.has_clean_ends, "a.py", "x = 1\n"),
    (rules.has_clean_ends, "a.py", ""),
    (rules.names_no_machine, "a.py", 'x = "https://example.com/work/x"\n'),
    (rules.reads_no_clock, "a.py", "clock.now_ms()\ntime.monotonic()\ntime.sleep(1)\n"),
    (rules.reads_no_environment, "a.py", "environ.text('HOME')\n"),
    (rules.counts_in_integers, "a.py", "cost = held // 2 + 10\n"),
    (rules.touches_no_private_name, "a.py", "self._own = type(call).__name__, call._replace(id='b')\n"),
    (rules.touches_no_private_name, "a.py", "from __future__ import annotations\n_OWN = 1\n"),
    (rules.touches_no_private_name, "a.py", "monkeypatch.setattr(store, 'MOST', 2)\nprint('_private')\n"),
    (lua_rules.says_what_it_is, "a.lua", "-- What a is.\n"),
    (lua_rules.has_narrow_lines, "a.lua", "-- " + "x" * 117 + "\n"),
    (lua_rules.has_short_functions, "a.lua", LONG_LUA.replace("  print()\n", "", 1)),
    (lua_rules.is_module_or_script, "a.lua", "local a = {}\nfunction a.b(c) return string.byte(c) end\nreturn a\n"),
    (lua_rules.is_module_or_script, "a.lua", "local b = require('b')\nfunction envoy_on_response(a) b.c(a) end\n"),
    (lua_rules.is_module_or_script, "envoy/lua/target.lua", "function envoy_on_request() PROVIDER.x = 1 end\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), REFUSED)
def test_a_rule_refuses_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    problems = list(rule(PurePath(path), text))

    assert problems
    assert all(path in problem for problem in problems)


@pytest.mark.parametrize(("rule", "path", "text"), PASSED)
def test_a_rule_passes_what_keeps_it(rule: Rule, path: str, text: str) -> None:
    assert list(rule(PurePath(path), text)) == []


def test_imports_are_found_in_every_spelling() -> None:
    text = "import a.b\nfrom c import d\ndef f():\n    from e.f import g\n"

    assert set(rules.imported_modules(text)) == {"a.b", "c", "c.d", "e.f", "e.f.g"}
