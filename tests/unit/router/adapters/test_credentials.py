from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.chassis.sealed_text import KEY_VARIABLE, SealingKeys, new_sealing_key
from services.chassis.settings import Environ
from services.router.adapters.credentials import EnvironmentAndFiles
from services.router.domain.secret import CredentialProblem, SecretReference, SecretSource, SecretValue


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "pepper").write_text("pepper-of-ours")
    (tmp_path / "admin-token").write_text("token-of-ours")
    return tmp_path


def read(data_dir: Path, source: SecretSource, name: str, **variables: str) -> SecretValue | CredentialProblem:
    environ = Environ(variables)
    credentials = EnvironmentAndFiles(environ, data_dir, SealingKeys.from_environ(environ), nothing_handed)
    return credentials.read(SecretReference(source, name))


def nothing_handed(_: str) -> None:
    """There is no supervisor."""


def problem_of(reading: SecretValue | CredentialProblem) -> CredentialProblem:
    assert isinstance(reading, CredentialProblem)
    return reading


def test_a_variable_is_read(data_dir: Path) -> None:
    assert read(data_dir, SecretSource.ENV, "KEY", KEY="sk-1") == SecretValue("sk-1")


@pytest.mark.parametrize("content", ["sk-1", "sk-1\n", "sk-1\r\n"])
def test_a_file_is_read_without_the_newline_at_its_end(data_dir: Path, content: str) -> None:
    (data_dir / "secrets" / "key").write_bytes(content.encode())
    assert read(data_dir, SecretSource.FILE, "key") == SecretValue("sk-1")


def test_a_file_is_read_again_each_time(data_dir: Path) -> None:
    credentials = EnvironmentAndFiles(Environ({}), data_dir, SealingKeys(), nothing_handed)
    reference = SecretReference(SecretSource.FILE, "key")
    for value in ("sk-1", "sk-2"):
        (data_dir / "secrets" / "key").write_text(value)
        assert credentials.read(reference) == SecretValue(value)


@pytest.mark.parametrize(
    "value", ["", " ", "\n", "sk\n1", "sk\r1", "sk 1", " sk", "sk\t1", "sk-\x00", "sk-\x7f", "schlüssel", "k" * 9_000]
)
def test_a_value_that_no_header_can_carry_is_a_problem_that_does_not_repeat_it(data_dir: Path, value: str) -> None:
    (data_dir / "secrets" / "key").write_bytes(value.encode())
    for reading in (
        read(data_dir, SecretSource.FILE, "key"),
        read(data_dir, SecretSource.ENV, "KEY", KEY=value),
    ):
        problem = problem_of(reading)
        assert not problem.forbidden
        assert len(value) < 3 or value not in problem.text


def test_a_variable_that_the_supervisor_hands_over_by_name_is_read(data_dir: Path) -> None:
    credentials = EnvironmentAndFiles(Environ({}), data_dir, SealingKeys(), {"KEY": "sk-1", "EMPTY": ""}.get)
    assert credentials.read(SecretReference(SecretSource.ENV, "KEY")) == SecretValue("sk-1")
    for name in ("EMPTY", "OTHER"):
        problem = problem_of(credentials.read(SecretReference(SecretSource.ENV, name)))
        assert (
            f"environment variable {name} is not set where the gateway was started: set it and restart" in problem.text
        )


def test_a_supervisor_that_does_not_answer_is_a_problem_and_not_a_missing_variable(data_dir: Path) -> None:
    def silent(_: str) -> None:
        raise TimeoutError

    credentials = EnvironmentAndFiles(Environ({}), data_dir, SealingKeys(), silent)
    problem = problem_of(credentials.read(SecretReference(SecretSource.ENV, "KEY")))
    assert "environment variable KEY cannot be asked of `spendgate up`" in problem.text


def test_what_is_missing_is_named(data_dir: Path) -> None:
    assert "environment variable KEY is not set" in problem_of(read(data_dir, SecretSource.ENV, "KEY")).text
    assert "secrets/key does not exist" in problem_of(read(data_dir, SecretSource.FILE, "key")).text


def test_a_data_directory_without_the_folder_is_no_crash(tmp_path: Path) -> None:
    assert not problem_of(read(tmp_path, SecretSource.FILE, "key")).forbidden


def test_a_link_that_leads_out_of_the_folder_is_forbidden(data_dir: Path) -> None:
    (data_dir / "outside").write_text("sk-outside")
    (data_dir / "secrets" / "link").symlink_to(data_dir / "outside")
    (data_dir / "secrets" / "folder").symlink_to(data_dir)
    for name in ("link", "folder/pepper", "folder/admin-token"):
        assert problem_of(read(data_dir, SecretSource.FILE, name)).forbidden


def test_a_link_within_the_folder_is_followed(data_dir: Path) -> None:
    (data_dir / "secrets" / "v2").write_text("sk-2")
    (data_dir / "secrets" / "key").symlink_to("v2")
    assert read(data_dir, SecretSource.FILE, "key") == SecretValue("sk-2")


@pytest.mark.parametrize("own", ["pepper", "admin-token"])
def test_our_own_secrets_are_forbidden_under_any_name(data_dir: Path, own: str) -> None:
    os.link(data_dir / own, data_dir / "secrets" / "key")
    assert problem_of(read(data_dir, SecretSource.FILE, "key")).forbidden


def test_what_is_not_a_file_is_a_problem_and_no_wait(data_dir: Path) -> None:
    os.mkfifo(data_dir / "secrets" / "pipe")
    (data_dir / "secrets" / "folder").mkdir()
    (data_dir / "secrets" / "loop").symlink_to("loop")
    (data_dir / "secrets" / "binary").write_bytes(b"\xff\xfe")
    for name in ("pipe", "folder", "loop", "binary"):
        assert not problem_of(read(data_dir, SecretSource.FILE, name)).forbidden


def test_a_sealed_file_is_opened_under_its_own_name_only(data_dir: Path) -> None:
    key = new_sealing_key()
    sealed = SealingKeys.from_environ(Environ({KEY_VARIABLE: key})).seal("key", "sk-1")
    for name in ("key", "other"):
        (data_dir / "secrets" / name).write_text(f"{sealed}\n")
    variables = {KEY_VARIABLE: key}
    assert read(data_dir, SecretSource.FILE, "key", **variables) == SecretValue("sk-1")
    moved = problem_of(read(data_dir, SecretSource.FILE, "other", **variables))
    assert moved.text == (
        "file secrets/other cannot be opened: it is damaged, or was sealed for another name than other"
    )
    without = problem_of(read(data_dir, SecretSource.FILE, "key"))
    assert without.text == f"file secrets/key cannot be opened: it is sealed, and {KEY_VARIABLE} is not set"


def test_what_was_sealed_must_fit_into_a_header_too(data_dir: Path) -> None:
    key = new_sealing_key()
    sealed = SealingKeys.from_environ(Environ({KEY_VARIABLE: key})).seal("key", "sk\r\nx-evil: 1")
    (data_dir / "secrets" / "key").write_text(sealed)
    problem = problem_of(read(data_dir, SecretSource.FILE, "key", **{KEY_VARIABLE: key}))
    assert "evil" not in problem.text
