from __future__ import annotations

from pathlib import Path

import pytest
from lupa.luajit21 import LuaRuntime

from services.router.adapters.envoy_resources_scripts import bundle

ENVOY_LUA = Path(__file__).resolve().parents[4] / "envoy" / "lua"
SCRIPTS = ["small_bodies", "large_bodies", "request_info", "target", "meter"]


def write(folder: Path, **sources: str) -> None:
    for name, source in sources.items():
        file = folder / f"{name.replace('__', '/')}.lua"
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)


def test_a_module_is_put_in_once_and_shared_by_all_who_require_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        count="local count = { calls = 0 }\nreturn count\n",
        one__first='local count = require("count")\ncount.calls = count.calls + 1\nreturn {}\n',
        second="""
            local first = require("one/first")
            local count = require("count")
            count.calls = count.calls + 1
            return first
        """,
        script='local first = require("one/first")\nlocal second = require("second")\nreturn require("count").calls\n',
    )

    source = bundle(tmp_path, "script")

    assert LuaRuntime().execute(source) == 2
    assert source.count("calls = 0") == 1


def test_luajits_own_libraries_are_left_to_luajit(tmp_path: Path) -> None:
    write(tmp_path, script='local bit = require("bit")\nreturn bit.bor(1, 2)\n')

    assert LuaRuntime().execute(bundle(tmp_path, "script")) == 3


def test_a_module_that_requires_itself_is_refused_with_the_way(tmp_path: Path) -> None:
    write(tmp_path, script='require("a")', a='return require("b")', b='return require("a")')

    with pytest.raises(ValueError, match="script -> a -> b -> a"):
        bundle(tmp_path, "script")


def test_a_module_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, script='local a = require("lua/a")')

    with pytest.raises(FileNotFoundError):
        bundle(tmp_path, "script")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_brings_all_it_needs_and_leaves_nothing_but_what_envoy_calls(script: str) -> None:
    runtime = LuaRuntime()
    before = set(runtime.globals())

    runtime.execute(bundle(ENVOY_LUA, script))

    left = set(runtime.globals()) - before
    assert left
    assert left <= {"envoy_on_request", "envoy_on_response"}
