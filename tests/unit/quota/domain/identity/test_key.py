from __future__ import annotations

import os
import zlib

import pytest

from services.kernel.errors import InvalidInput
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import (
    KeyState,
    SecretKind,
    VirtualKey,
    check_secret,
    checksum_holds,
    digest_of,
    hint_of,
    looks_minted,
    mint_secret,
)

PEPPER = bytes(32)
# Written out once, so that a change of the format cannot pass unseen: keys in the hands of users must go on working.
KNOWN = "spg_live_0123456789ABCDEFGHIJKLMNOPQRSTUV2sfioP"


def test_a_minted_secret_has_the_published_form() -> None:
    secret = mint_secret(SecretKind.LIVE, lambda size: bytes(range(size)))

    assert secret == KNOWN
    assert len(secret) == len("spg_live_") + 32 + 6


def test_the_checksum_is_the_crc32_of_everything_before_it_in_base62() -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for letter in KNOWN[-6:]:
        number = number * 62 + alphabet.index(letter)

    assert number == zlib.crc32(KNOWN[:-6].encode())


def test_any_single_wrong_character_is_noticed_without_a_database() -> None:
    secret = mint_secret(SecretKind.TEST, os.urandom)
    assert checksum_holds(secret)

    for at in range(len("spg_test_"), len(secret)):
        wrong = secret[:at] + ("a" if secret[at] != "a" else "b") + secret[at + 1 :]
        assert looks_minted(wrong)
        assert not checksum_holds(wrong)


def test_bytes_that_would_favour_some_characters_are_drawn_again() -> None:
    drawn = iter([bytes([255] * 32), bytes([61] * 32)])

    assert mint_secret(SecretKind.LIVE, lambda _: next(drawn)).startswith("spg_live_" + "z" * 32)


@pytest.mark.parametrize("secret", ["", "spg_live_", "spg_prod_" + "a" * 38, KNOWN + "x", KNOWN[:-1], " " + KNOWN])
def test_what_does_not_have_the_form_was_not_minted(secret: str) -> None:
    assert not looks_minted(secret)
    assert not checksum_holds(secret)


@pytest.mark.parametrize("secret", [KNOWN, "sk-1234567890abcdef", "spg_live_chosen-by-hand", "~" * 256, "!" * 16])
def test_secrets_of_ours_and_of_others_can_be_keys(secret: str) -> None:
    assert check_secret("keys[0].secret", secret) == secret


@pytest.mark.parametrize(
    "secret",
    ["short", "x" * 257, "has a space in it", "not-ascii-\u00e9-at-all", "line\nbreak-in-it", KNOWN[:-1] + "4"],
)
def test_other_secrets_are_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_secret("keys[0].secret", secret)

    assert caught.value.field == "keys[0].secret"
    assert secret not in str(caught.value)


def test_a_digest_depends_on_the_pepper() -> None:
    assert len(digest_of(KNOWN, PEPPER)) == 32
    assert digest_of(KNOWN, PEPPER) != digest_of(KNOWN, bytes([1] * 32))


def test_the_hint_of_an_imported_secret_is_empty() -> None:
    assert hint_of(KNOWN) == "spg_live_01...fioP"
    assert hint_of("sk-1234567890abcdef") == ""


def test_a_key_ends_at_its_time_to_the_millisecond() -> None:
    key = VirtualKey(Attribution("id", "ci"), expire_at_ms=1_000)

    assert key.state_at(999) is KeyState.ACTIVE
    assert key.state_at(1_000) is KeyState.EXPIRED


def test_a_stopped_key_says_so_even_when_its_time_is_over() -> None:
    assert VirtualKey(Attribution("id", "ci"), expire_at_ms=1, disabled=True).state_at(2) is KeyState.DISABLED


def test_a_key_without_a_list_may_use_every_model() -> None:
    assert VirtualKey(Attribution("id", "ci")).may_use("tiny")
    assert VirtualKey(Attribution("id", "ci"), models=("tiny",)).may_use("tiny")
    assert not VirtualKey(Attribution("id", "ci"), models=("tiny",)).may_use("huge")


def test_the_old_secret_works_until_its_grace_ends() -> None:
    key = VirtualKey(Attribution("id", "ci"), digest=b"new", old_digest=b"old", old_until_ms=1_000)

    assert key.opened_by(b"new", 5_000)
    assert key.opened_by(b"old", 999)
    assert not key.opened_by(b"old", 1_000)
    assert not key.opened_by(b"other", 0)
