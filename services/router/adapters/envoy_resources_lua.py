"""Writes Python values in Lua, for the tables that Envoy's scripts receive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def lua_value(value: object) -> str:
    """Returns the Lua expression for `value`: a truth value, a text, or a mapping or collection of such values.

    Mappings become tables by name, other collections become lists.

    Raises:
        TypeError: the value has another type.
        ValueError: a text needs an escape. Our names and patterns need none.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case Mapping():
            return _braced(f"[{_text(str(name))}] = {lua_value(item)}" for name, item in value.items())
        case tuple() | list():
            return _braced(map(lua_value, value))
    raise TypeError(f"Lua's tables hold no {type(value).__name__}")


def _braced(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _text(value: str) -> str:
    if not (value.isascii() and value.isprintable()) or set(value) & {'"', "\\"}:
        raise ValueError(f"the text {value!r} needs an escape in Lua")
    return f'"{value}"'
