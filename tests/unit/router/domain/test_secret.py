from __future__ import annotations

import pytest

from services.kernel.errors import InvalidInput
from services.router.domain.secret import SecretReference, SecretSource, SecretValue, check_reference


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "_X", "A1"])
def test_an_environment_variable_may_be_named(name: str) -> None:
    reference = SecretReference(SecretSource.ENV, name)
    assert check_reference("api_key", reference) is reference


@pytest.mark.parametrize("name", ["", "lower", "1A", "A-B", "A B", "A\n", "Ä", "SPENDGATE_DATA_DIR", "A" * 200])
def test_other_names_of_variables_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_reference("providers[0].api_key", SecretReference(SecretSource.ENV, name))
    assert caught.value.field == "providers[0].api_key.env"


@pytest.mark.parametrize("name", ["openai", "team/openai.key", "./openai"])
def test_a_file_inside_the_folder_may_be_named(name: str) -> None:
    check_reference("api_key", SecretReference(SecretSource.FILE, name))


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../pepper", "a/../../pepper", "a\nb", "a\0b", "a" * 300])
def test_a_file_outside_the_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_reference("providers[0].api_key", SecretReference(SecretSource.FILE, name))
    assert caught.value.field == "providers[0].api_key.file"


def test_a_value_does_not_show_itself() -> None:
    value = SecretValue("sk-secret")
    assert "sk-secret" not in f"{value} {value!r} {[value]}"
    assert value == SecretValue("sk-secret") != SecretValue("sk-other")
    assert value.reveal() == "sk-secret"
