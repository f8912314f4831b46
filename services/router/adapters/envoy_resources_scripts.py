"""Envoy's Lua, assembled from `envoy/lua`: a script and the modules that it requires become one source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.router.adapters.envoy_resources_contract import lua_contract, lua_translations
from services.router.domain.translation import TRANSLATIONS

_REQUIRE = re.compile(r'\brequire\("([\w/]+)"\)')
# LuaJIT's own, which Envoy's Lua has.
_LIBRARIES = frozenset({"bit", "ffi"})
TRANSLATOR = "translator"
"""The module that each cluster's script has in a form of its own."""
_NO_TRANSLATOR = "translate/none"
_Direction = tuple[Dialect, Operation, Dialect | None]
"""The dialect of the clients, what they ask for, and the dialect of the provider."""
_GENERATED = {"contract": lua_contract, "translations": lua_translations}


@dataclass(frozen=True, slots=True)
class Scripts:
    """Complete sources of the filters' scripts."""

    small_bodies: str
    large_bodies: str
    request_info: str
    target: str
    hold: str
    translating: Mapping[_Direction, str]
    """`target` with a translator."""
    meter: str

    @classmethod
    def load(cls, folder: Path) -> Scripts:
        """Reads the scripts under `folder`.

        Raises:
            OSError: a file is missing or unreadable.
        """
        return cls(
            small_bodies=bundle(folder, "small_bodies"),
            large_bodies=bundle(folder, "large_bodies"),
            request_info=bundle(folder, "request_info"),
            target=bundle(folder, "target"),
            hold=bundle(folder, "hold"),
            translating={
                (one.client, one.operation, one.provider): bundle(folder, "target", translator=f"translate/{one.name}")
                for one in TRANSLATIONS
            },
            meter=bundle(folder, "meter"),
        )


def bundle(folder: Path, name: str, *, translator: str = _NO_TRANSLATOR) -> str:
    """Returns the source of `<folder>/<name>.lua` after all modules that it requires, directly or not, each once.

    Envoy compiles a script from a string and searches no folder for modules. A module is a file that ends in `return`
    and keeps everything else local. Each module is stored in the table `modules`, and `require("x/y")` becomes
    `modules["x/y"]`. The modules `contract` and `translations` are not files:
    `envoy_resources_contract.py` writes them. The module `translator` is the file that `translator` names.

    Raises:
        OSError: a file is missing or unreadable.
        ValueError: a module requires itself, directly or not.
    """
    sources: dict[str, str] = {}
    _collect(folder, {TRANSLATOR: translator}, name, sources, ())
    script = sources.pop(name)
    if not sources:
        return script
    modules = "".join(f'modules["{module}"] = (function()\n{text}end)()\n' for module, text in sources.items())
    return f"local modules = {{}}\n{modules}{script}"


def _collect(
    folder: Path, files: Mapping[str, str], name: str, sources: dict[str, str], asking: tuple[str, ...]
) -> None:
    """Adds `name` to `sources`, after the modules that it requires.

    `files` are the files of modules that are not called like theirs. `asking` is the way from the script to `name`.
    """
    if name in asking:
        raise ValueError(f"{' -> '.join((*asking, name))}: a module of envoy/lua requires itself")
    if name in _GENERATED:
        source = _GENERATED[name]()
    else:
        source = (folder / f"{files.get(name, name)}.lua").read_text(encoding="utf-8")
    required = [module for module in _REQUIRE.findall(source) if module not in _LIBRARIES]
    for module in required:
        if module not in sources:
            _collect(folder, files, module, sources, (*asking, name))
    sources[name] = _REQUIRE.sub(lambda call: call[0] if call[1] in _LIBRARIES else f'modules["{call[1]}"]', source)
