from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module

UTF8 = load_module("utf8")

# Every first byte of a character, the bounds of what may follow it, and enough ASCII for whole blocks of it.
AWKWARD = st.sampled_from(
    [*b"\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf4\xf5\xff"]
)
PIECES = st.one_of(
    st.text(max_size=3).map(lambda text: text.encode(errors="surrogatepass")),
    st.lists(AWKWARD, max_size=4).map(bytes),
    st.integers(0, 70).map(lambda count: b"a" * count),
)


def python_reads(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=6).map(b"".join))
@example("\U0010ffff\ud7ff\ue000\U00010000\u0800\u0080".encode())
def test_what_passes_is_exactly_what_python_decodes(text: bytes) -> None:
    assert UTF8.is_valid(text.decode("latin-1")) is python_reads(text)


@pytest.mark.parametrize("character", ["\u00e9", "\u4e16", "\U0001f600"])
@pytest.mark.parametrize("at", range(20))
def test_a_character_that_is_cut_anywhere_does_not_pass(character: str, at: int) -> None:
    whole = b"a" * at + character.encode()
    for cut in range(at + 1, len(whole)):
        assert not UTF8.is_valid(whole[:cut].decode("latin-1"))
        assert not UTF8.is_valid((whole[:cut] + b"a" * 40).decode("latin-1"))


@pytest.mark.parametrize("tail", [b"", b"\x80", b"\x80\xbf", b"\x80\x7f"])
def test_of_every_pair_of_first_bytes_what_passes_is_what_python_decodes(tail: bytes) -> None:
    pairs = (bytes((first, second)) + tail for first in range(0x7F, 256) for second in range(256))
    wrong = [pair for pair in pairs if UTF8.is_valid(pair.decode("latin-1")) is not python_reads(pair)]
    assert wrong == []


LONG_TEXTS = {
    "ascii": "The forecast says that revenue grows. ",
    "german": "Die Prüfung der Größenverhältnisse läuft über Straßenzüge. ",
    "chinese": "季度预测显示收入增长而成本保持不变。",
    "rare": "The forecast says that revenue grows. " * 40 + "é",
    "emoji": "It grows 😀 and falls 🙁. ",
}
LONG_BYTES = 5_000
"""Several times as long as a stretch that the automaton reads, and as a block of ASCII."""


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS.keys())
def test_a_byte_that_is_changed_anywhere_in_a_long_text_is_judged_as_python_does(text: str) -> None:
    draw = random.Random(1)
    whole = (text * LONG_BYTES).encode()[:LONG_BYTES]
    for _ in range(1_500):
        start = draw.randrange(70)
        changed = bytearray(whole[start : draw.randrange(start, LONG_BYTES + 1)])
        for _ in range(draw.randrange(3) if changed else 0):
            changed[draw.randrange(len(changed))] = draw.choice(b"\x00\x7f\x80\xbf\xc3\xe0\xed\xf0\xf4\xff")
        assert UTF8.is_valid(changed.decode("latin-1")) is python_reads(bytes(changed))


@pytest.mark.parametrize("character", ["\u00e9", "\u4e16", "\U0001f600"])
def test_a_character_across_any_boundary_of_a_long_text_passes_whole_and_fails_cut(character: str) -> None:
    for before in range(2_200):
        text = b"a" * before + character.encode() + b"b" * 70
        assert UTF8.is_valid(text.decode("latin-1"))
        assert not UTF8.is_valid((text[: before + 1] + text[before + 2 :]).decode("latin-1"))
