from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.sealed_text import (
    KEY_FILE_VARIABLE,
    KEY_VARIABLE,
    PREFIX,
    SealError,
    SealingKeys,
    is_sealed,
    new_sealing_key,
)
from services.chassis.settings import Environ, SettingsError

OLD, NEW = new_sealing_key(), new_sealing_key()


def keys(*texts: str) -> SealingKeys:
    return SealingKeys.from_environ(Environ({KEY_VARIABLE: ",".join(texts)}))


@given(st.text())
def test_what_is_sealed_is_opened_again_and_never_sealed_alike(text: str) -> None:
    sealed = keys(NEW).seal("openai", text)
    assert is_sealed(sealed)
    assert keys(NEW).open("openai", sealed) == text
    assert keys(NEW).seal("openai", text) != sealed


def test_the_first_key_seals_and_each_opens() -> None:
    sealed = keys(OLD).seal("openai", "sk-1")
    both = keys(NEW, OLD)
    assert both.open("openai", sealed) == "sk-1"
    assert not both.is_current(sealed)
    again = both.seal("openai", "sk-1")
    assert both.is_current(again)
    with pytest.raises(SealError, match=f"a key that {KEY_VARIABLE} does not have"):
        keys(OLD).open("openai", again)


@given(st.data())
def test_a_sealed_text_in_which_one_character_changed_is_not_opened(data: st.DataObject) -> None:
    sealed = keys(NEW).seal("openai", "sk-1234567890")
    at = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda character: character != sealed[at]))
    with pytest.raises(SealError) as refused:
        keys(NEW).open("openai", sealed[:at] + other + sealed[at + 1 :])
    assert "sk-1234567890" not in str(refused.value)
    assert NEW not in str(refused.value)


@pytest.mark.parametrize("sealed", ["", PREFIX, f"{PREFIX}AAAA", f"{PREFIX}not base64!", "sk-1"])
def test_what_is_no_sealed_text_is_not_opened(sealed: str) -> None:
    with pytest.raises(SealError, match="damaged"):
        keys(NEW).open("openai", sealed)


def test_a_sealed_text_belongs_to_its_name() -> None:
    with pytest.raises(SealError, match="another name than mistral"):
        keys(NEW).open("mistral", keys(NEW).seal("openai", "sk-1"))


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    with pytest.raises(SealError, match=f"{KEY_VARIABLE} is not set"):
        SealingKeys().seal("openai", "sk-1")
    with pytest.raises(SealError, match=f"it is sealed, and {KEY_VARIABLE} is not set"):
        SealingKeys().open("openai", keys(NEW).seal("openai", "sk-1"))


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{NEW}\n{OLD}\n")
    from_file = SealingKeys.from_environ(Environ({KEY_FILE_VARIABLE: str(tmp_path / "key")}))
    assert from_file == keys(NEW, OLD)


def test_a_key_is_never_shown() -> None:
    assert NEW not in repr(keys(NEW))


@pytest.mark.parametrize(
    "text",
    ["short", "sk-live-0123456789", f"{NEW}x", f"{NEW},{NEW[:-4]}", NEW.replace("=", "")],
    ids=["short", "other", "longer", "second", "unpadded"],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="new-key") as refused:
        keys(text)
    assert text not in str(refused.value)


def test_a_file_that_cannot_be_read_and_two_sources_are_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        SealingKeys.from_environ(Environ({KEY_FILE_VARIABLE: missing}))
    with pytest.raises(SettingsError, match="are both set"):
        SealingKeys.from_environ(Environ({KEY_FILE_VARIABLE: missing, KEY_VARIABLE: NEW}))
