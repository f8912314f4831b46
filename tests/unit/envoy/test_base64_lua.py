from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module

MEDIA = load_module("dialect/media")
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
FOREIGN = [code for code in range(256) if code not in LETTERS | frozenset(b"=\\")]
"""Neither letters, nor bytes that may stand among them."""

AWKWARD = st.sampled_from([b"\\/", b"\\", b"\\\\/", b"=", b"==", b"===", b"\x00", b" ", b"\n", b'"', b",", b"\xc3\xa9"])
PIECES = st.one_of(
    AWKWARD,
    st.binary(max_size=2),
    st.integers(0, 70).map(lambda count: bytes(random.Random(count).choices([*LETTERS], k=count))),
)


def is_base64(text: bytes, first: int, last: int) -> bool:
    """What the scan says of bytes `first` to `last`, which count from 1."""
    verdict: bool = MEDIA.is_base64(text.decode("latin-1"), first, last)
    return verdict


def python_says(payload: bytes) -> bool:
    """The same by sets of letters."""
    letters = payload.replace(b"\\/", b"/")
    padding = len(letters) - len(letters.rstrip(b"="))
    return padding <= 2 and LETTERS.issuperset(letters[: len(letters) - padding])


@settings(max_examples=600)
@given(st.lists(PIECES, max_size=6).map(b"".join), st.binary(max_size=9), st.binary(max_size=3))
@example(b"A" * 16 + b"=", b"", b"=")
@example(b"A" * 15 + b"\\/", b"", b"")
@example(b"A" * 15 + b"\\", b"", b"/")
def test_what_counts_as_base64_is_exactly_its_letters_and_padding(payload: bytes, before: bytes, after: bytes) -> None:
    text = before + payload + after
    assert is_base64(text, len(before) + 1, len(before) + len(payload)) is python_says(payload)


@pytest.mark.parametrize("before", range(17))
def test_one_foreign_byte_at_any_place_makes_it_text(before: int) -> None:
    letters = random.Random(before)
    for size in range(1, 50):
        payload = bytes(letters.choices([*LETTERS], k=size))
        text = b'"' * before + payload + b'"' * 20
        assert is_base64(text, before + 1, before + size)
        for at in range(size):
            broken = payload[:at] + bytes([letters.choice(FOREIGN)]) + payload[at + 1 :]
            text = b"A" * before + broken + b"A" * 20
            assert not is_base64(text, before + 1, before + size), (broken, at)


@pytest.mark.parametrize("at", range(34))
def test_no_byte_but_a_letter_counts_as_one(at: int) -> None:
    wrong = [
        code
        for code in range(256)
        if is_base64(b"A" * at + bytes([code]) + b"A" * (34 - at), 1, 35) is not (code in LETTERS)
    ]
    assert wrong == []
