"""The modules of Envoy's scripts in LuaJIT, as Envoy runs them: put together by the same code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime, lua_type

from services.router.adapters.envoy_resources_scripts import bundle

FOLDER = Path(__file__).resolve().parents[2] / "envoy" / "lua"


def new_runtime() -> Any:
    """An empty LuaJIT. Strings cross byte for byte: see `wire` and `plain`."""
    return LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)


def load_module(module: str, runtime: Any = None) -> Any:
    """The table that a module returns; in a runtime of its own unless one is given."""
    return (runtime or new_runtime()).execute(bundle(FOLDER, module))


def wire(text: str) -> str:
    """`text` as Lua sees it: one character for each byte of its UTF-8."""
    return text.encode().decode("latin-1")


def plain(value: Any) -> Any:
    """A Lua value as Python's: tables become dicts, strings text again."""
    if lua_type(value) == "table":
        return {plain(key): plain(item) for key, item in value.items()}
    return value.encode("latin-1").decode() if isinstance(value, str) else value


def table(runtime: Any, values: dict[str, Any]) -> Any:
    """A Lua table of `values`, None left out."""
    return runtime.table_from({key: value for key, value in values.items() if value is not None})
