from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds.lua_scripts import load_module, new_runtime, plain, wire

LUA = new_runtime()
MASK = load_module("mask", LUA)
KEY_CHARACTERS = string.ascii_letters + string.digits + "-_=+/."
SECRETS = st.text(KEY_CHARACTERS, min_size=8, max_size=60)
PART, WORD = 8, 16


def masked(text: str, *values: str) -> str:
    """`text` as a client reads it after credentials with these header values were injected, in this order."""
    known = LUA.table()
    for value in values:
        MASK.remember(known, wire(value))
    shown = plain(MASK.text(known, wire(text)))
    assert isinstance(shown, str)
    return shown


@given(SECRETS, st.data(), st.sampled_from(["", "Bearer "]))
def test_no_part_of_a_credential_that_tells_anything_is_shown(secret: str, data: st.DataObject, scheme: str) -> None:
    parts = data.draw(st.lists(st.text(max_size=20) | st.just(secret) | substrings(secret), max_size=8))
    shown = masked("".join(parts), scheme + secret)
    pieces = [secret[at : at + PART] for at in range(len(secret) - PART + 1)]
    assert not [piece for piece in pieces if piece in shown and not is_like_a_word(piece)]
    assert secret not in shown
    assert not [at for at in range(len(secret) - WORD + 1) if secret[at : at + WORD] in shown]


def is_like_a_word(piece: str) -> bool:
    return set(piece) <= set(string.ascii_lowercase + "-_")


def substrings(text: str) -> st.SearchStrategy[str]:
    places = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    return places.map(lambda place: text[min(place) : max(place)])


@given(st.text("abcdefgh \n\té{}\":,'<>", max_size=80))
def test_a_text_without_a_credential_stays_as_it_is(text: str) -> None:
    assert masked(text, "Bearer sk-0123456789ABCDEF") == text


@given(SECRETS, SECRETS, SECRETS, SECRETS)
def test_the_last_four_credentials_are_known(one: str, two: str, three: str, four: str) -> None:
    shown = masked(f"{one} {two} {three} {four}", one, two, three, four)
    assert not [secret for secret in (one, two, three, four) if secret in shown]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-proj-0123456789abcdefghij, and more", "key ***, and more"),
        ("spg_live_0123456789abcdefghij", "***"),
        ("x=AIzaSyA0123456789abcdefghijklmnop;", "x=***;"),
        ('{"message":"Bearer 0123456789abcdef0123456789"}', '{"message":"Bearer ***"}'),
        ("bearer token is missing", "bearer token is missing"),
        ("the risk-assessment-of-everything-here", "the risk-assessment-of-everything-here"),
        ("model gpt-4o-mini-audio-preview-2024-12-17", "model gpt-4o-mini-audio-preview-2024-12-17"),
        ("toolu_01T1x1fJ34qAmk2tNTrN7Up6 req_011CSHoEeqs5C35K2UUqR7Fy", ""),
        ("8b3f2c1d-0e4a-4f6b-9a7c-1d2e3f4a5b6c", ""),
    ],
)
def test_what_looks_like_a_key_is_hidden_and_what_helps_is_not(text: str, shown: str) -> None:
    assert masked(text, "Bearer another-credential") == (shown or text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anthropic-version: header is required", ""),
        ("the anthropic provider", ""),
        ("a key-of-theirs", ""),
        ("bad key: ...-provider", "bad key: ...***"),
        ("bad key: key-of-the...", "bad key: ***..."),
        ("bad key: key-of-the-simulated-anthropic-provider", "bad key: ***"),
        ("it ends in simulated-anthropic-provider", "it ends in ***"),
    ],
)
def test_words_that_a_credential_has_too_stay_whole(text: str, shown: str) -> None:
    assert masked(text, "key-of-the-simulated-anthropic-provider") == (shown or text)


def test_a_part_that_begins_within_a_word_is_hidden() -> None:
    assert masked("abcdefghijkl9", "abcdefghXYdefghijkl9") == "abc***"


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("EMPTY", "the key EMPTY is empty", "the key *** is empty"),
        ("EMPTY", '{"key":"EMPTY"}', '{"key":"***"}'),
        ("none", "nonetheless, none of them", "nonetheless, *** of them"),
        ("x", "max_tokens: x", "max_tokens: ***"),
    ],
)
def test_a_short_credential_is_hidden_as_a_whole_word(secret: str, text: str, shown: str) -> None:
    assert masked(text, f"Bearer {secret}") == shown
