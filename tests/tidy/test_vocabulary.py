"""One word for one thing: the words that ARCHITECTURE.md retires come back nowhere."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"\| ([^|]+) \| ([^|]+) \| ([^|]*)\|")
_CODE = re.compile(r"`([^`]+)`")


def retired() -> tuple[set[str], set[str]]:
    """The retired words, and the names that Python may not use."""
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Words")[2]
    words: set[str] = set()
    names: set[str] = set()
    for _, _, cell in _ROW.findall(table):
        names |= set(_CODE.findall(cell))
        words |= {word.strip() for word in _CODE.sub("", cell).split(",") if word.strip(" -")}
    return words - {"retired"}, names


def texts() -> Iterator[Path]:
    for pattern in ("services/**/*.py", "envoy/**/*.lua", "protos/**/*.proto", "docs/*.md", "README.md"):
        yield from (path for path in ROOT.glob(pattern) if "__pycache__" not in path.parts)


def names_in(text: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_the_table_retires_words() -> None:
    words, names = retired()

    assert {"belief", "learnt", "headroom"} <= words
    assert {"Wish", "Standing", "counts_until_ms"} <= names


def test_no_retired_word_comes_back() -> None:
    words, _ = retired()
    found = re.compile(rf"(?<![a-z])({'|'.join(sorted(words))})(?:s|ed|ing)?(?![a-z])", re.IGNORECASE)

    assert [
        f"{path.relative_to(ROOT)}:{number} {match[0]}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in found.finditer(line)
    ] == []


def test_no_retired_name_comes_back() -> None:
    _, names = retired()

    assert {
        str(path.relative_to(ROOT)): back
        for service in ("quota", "ledger")
        for path in (ROOT / "services" / service).rglob("*.py")
        if (back := names & names_in(path.read_text()))
    } == {}
