"""Envoy's Lua, assembled from `envoy/lua`: a script and the modules that it requires become one source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_REQUIRE = re.compile(r'^local (\w+) = require\("([\w/]+)"\)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scripts:
    """Complete sources of the filters' scripts."""

    small_bodies: str
    large_bodies: str
    request_info: str
    target: str
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
            meter=bundle(folder, "meter"),
        )


def bundle(folder: Path, name: str) -> str:
    """Returns the source of `<folder>/<name>.lua` with each `local y = require("x/y")` replaced by the module itself.

    Envoy compiles a script from a string and searches no folder for modules. A module is a file that ends in `return`
    and keeps everything else local. It is inserted once for each script that requires it, in a scope of its own.
    """
    source = (folder / f"{name}.lua").read_text(encoding="utf-8")
    return _REQUIRE.sub(lambda line: f"local {line[1]} = (function()\n{bundle(folder, line[2])}end)()", source)
