from __future__ import annotations

import random

from tests.worlds.lua_scripts import load_module

FINGERPRINT = load_module("fingerprint")
WORD_BYTES = 8


def fingerprint_of(*pieces: bytes, lengths: tuple[int, ...] = ()) -> list[str]:
    """The fingerprints of the pieces put together: of each length, and last of everything."""
    FINGERPRINT.clear()
    size = 0
    for piece in pieces:
        size = FINGERPRINT.add(piece.decode("latin-1"), 1, len(piece))
    return [FINGERPRINT.of(length) for length in (*lengths, size)]


def text_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_a_prefix_has_the_fingerprint_of_the_same_text_alone() -> None:
    text = text_of(20_000)
    printed = fingerprint_of(text, lengths=(1_024, 4_096, 16_384))

    assert printed == [fingerprint_of(text[:length])[0] for length in (1_024, 4_096, 16_384, 20_000)]
    assert len(set(printed)) == 4


def test_it_does_not_matter_in_which_pieces_a_text_comes() -> None:
    text = text_of(3_000)
    assert fingerprint_of(text[:1], text[1:37], b"", text[37:]) == fingerprint_of(text)


def test_nothing_of_an_earlier_and_longer_text_is_left() -> None:
    short = fingerprint_of(b"short")
    fingerprint_of(text_of(70_000))
    assert fingerprint_of(b"short") == short


def test_a_bit_that_is_turned_anywhere_and_words_that_change_places_show() -> None:
    text = text_of(256)
    words = [text[at : at + WORD_BYTES] for at in range(0, len(text), WORD_BYTES)]
    prints = {fingerprint_of(text)[0]}
    changed = 0
    for bit in range(8 * len(text)):
        turned = bytearray(text)
        turned[bit // 8] ^= 1 << bit % 8
        prints.add(fingerprint_of(bytes(turned))[0])
        changed += 1
    for one in range(len(words)):
        for other in range(one):
            swapped = words.copy()
            swapped[one], swapped[other] = words[other], words[one]
            prints.add(fingerprint_of(b"".join(swapped))[0])
            changed += 1
    assert len(prints) == changed + 1


def test_what_finds_no_room_is_left_out() -> None:
    room = FINGERPRINT.ROOM_BYTES
    text = text_of(room + 100)
    assert fingerprint_of(text[: room - 5], text[room - 5 :]) == fingerprint_of(text[:room])
