"""House rules that can be read off a file. Each takes a path and a text and yields what is wrong, as sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePath

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
BANNED_STEMS = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"})
# Spelt in parts, so that this file passes its own rule.
_UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
_CLOCKS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
}
# How a name is reached by its text.
_BY_NAME = {"getattr", "setattr", "delattr", "hasattr"}
_NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}
_ENVIRONMENT = {"os.environ", "os.environb", "os.getenv"}


def is_short(path: PurePath, text: str) -> Iterator[str]:
    """A file is small enough to understand as a whole."""
    lines = text.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{path} has {lines} lines, {MAX_FILE_LINES} are allowed: split it along what changes together"


def has_short_functions(path: PurePath, text: str) -> Iterator[str]:
    """A function fits on a screen."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno} {node.name} has {lines} lines, {MAX_FUNCTION_LINES} are allowed"


def has_a_telling_name(path: PurePath, _text: str) -> Iterator[str]:
    """A file is named for what it does."""
    for part in (path.stem, *path.parent.parts):
        if part in BANNED_STEMS:
            yield f"{path}: {part!r} names nothing; name the file for what it does"


def is_finished(path: PurePath, text: str) -> Iterator[str]:
    """Open work belongs in the issue tracker, not in the code."""
    for number, line in enumerate(text.splitlines(), 1):
        if _UNFINISHED.search(line):
            yield f"{path}:{number} leaves something open: finish it or file an issue"


def has_clean_ends(path: PurePath, text: str) -> Iterator[str]:
    """Lines end where their text ends, files end with a line."""
    if text and not text.endswith("\n"):
        yield f"{path} does not end with a newline"
    if text.endswith("\n\n"):
        yield f"{path} ends with empty lines"
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            yield f"{path}:{number} ends with white space"


def names_no_machine(path: PurePath, text: str) -> Iterator[str]:
    """The tree works wherever it is checked out."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"(?<![\w.$}])/(work|root|home/\w+|tmp/lab)/", line):
            yield f"{path}:{number} names a folder of one machine"


def reads_no_clock(path: PurePath, text: str) -> Iterator[str]:
    """Time comes in by argument."""
    for name, line in _dotted_names(text):
        if name in _CLOCKS:
            yield f"{path}:{line} reads {name}: take a services.kernel.clock.Clock instead"


def reads_no_environment(path: PurePath, text: str) -> Iterator[str]:
    """Settings are read once, at the top."""
    for name, line in _dotted_names(text):
        if name in _ENVIRONMENT:
            yield f"{path}:{line} reads {name}: settings are read once, in main"


def counts_in_integers(path: PurePath, text: str) -> Iterator[str]:
    """No float touches money."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=float()):
                yield f"{path}:{node.lineno} has the float {node.value!r}: money and tokens are integers"
            case ast.Name(id="float" | "Decimal"):
                yield f"{path}:{node.lineno} names {node.id}: money and tokens are integers"
            case ast.BinOp(op=ast.Div()):
                yield f"{path}:{node.lineno} divides with /: use //, and say how it rounds"


def touches_no_private_name(path: PurePath, text: str) -> Iterator[str]:
    """A test asks what a user of the code could ask. `self._x` is its own, `x._replace(...)` a named tuple's."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if _is_private(name) and name not in _NAMED_TUPLE:
                found = ast.unparse(node)
            case ast.ImportFrom(module=str(module), names=names) if _private_part(
                ".".join((module, *(alias.name for alias in names)))
            ):
                found = ast.unparse(node)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=args) if called in _BY_NAME:
                found = next(filter(_private_part, (_text_of(each) for each in args[:2])), "")
            case _:
                continue
        if found:
            yield f"{path}:{node.lineno} touches {found}: test it through what it is there for"


def imported_modules(text: str) -> Iterator[str]:
    """Full names of what a module imports: `a.b` and, for `from a import b`, both `a` and `a.b`."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)


def _dotted_names(text: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute():
                yield ast.unparse(node), node.lineno
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in names)


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_part(dotted: str) -> bool:
    return any(map(_is_private, dotted.split(".")))


def _text_of(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
