from __future__ import annotations

from collections import Counter

from services.quota.domain.identity.key import SecretKind, checksum_holds, derived_entropy, mint_secret

PEPPER, SALT = bytes(range(32)), bytes(range(32, 64))
# Written out once: a request may be repeated to the next release, and must get the secret that this one made.
KNOWN = "spg_live_NCSujvpCHvlP9dslZKMk3ByrEvZK8puI4fmyRr"


def secret(
    pepper: bytes = PEPPER, salt: bytes = SALT, context: tuple[str, ...] = ("platform::root", "id", "ci")
) -> str:
    return mint_secret(SecretKind.LIVE, derived_entropy(pepper, salt, *context))


def test_a_secret_can_be_made_again_from_the_same_parts_by_the_next_release() -> None:
    assert secret() == KNOWN
    assert checksum_holds(secret())


def test_every_part_tells() -> None:
    made = {
        secret(),
        secret(pepper=bytes(32)),
        secret(salt=bytes(32)),
        secret(context=("platform::eve", "id", "ci")),
        secret(context=("platform::root", "id2", "ci")),
        secret(context=("platform::root", "id", "cd")),
        secret(context=("platform::root", "idc", "i")),
        secret(context=("platform::root", "id", "c", "i")),
    }

    assert len(made) == 8


def test_the_bytes_go_on_and_do_not_depend_on_how_they_are_taken() -> None:
    whole = derived_entropy(PEPPER, SALT, "a")(100)
    pieces = derived_entropy(PEPPER, SALT, "a")

    assert b"".join(pieces(size) for size in (1, 31, 33, 35)) == whole
    assert len({whole[at : at + 4] for at in range(0, 100, 4)}) == 25


def test_all_letters_are_about_equally_likely() -> None:
    letters = Counter("".join(secret(salt=number.to_bytes(32))[9:41] for number in range(2_000)))

    assert len(letters) == 62
    assert max(letters.values()) / min(letters.values()) < 1.3
