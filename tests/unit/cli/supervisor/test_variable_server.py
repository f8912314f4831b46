from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.chassis.named_variables import NamedVariables
from services.cli.supervisor.variable_server import serve_variables

ENVIRON = {"OPENAI_API_KEY": "sk-1\u00fc", "SPENDGATE_TOKEN": "the-admin-token", "lower": "case", "PATH": "/bin"}


async def ask(address: Path, *names: str) -> list[str | None]:
    """What a router reads of a supervisor with `ENVIRON`."""
    async with serve_variables(ENVIRON, str(address)):
        variables = NamedVariables(str(address))
        return [await asyncio.to_thread(variables, name) for name in names]


def test_a_variable_is_handed_over_by_its_name(tmp_path: Path) -> None:
    names = ("OPENAI_API_KEY", "NOT_SET", "OPENAI_API_KEY")
    assert asyncio.run(ask(tmp_path / "v.sock", *names)) == ["sk-1\u00fc", None, "sk-1\u00fc"]


def test_our_own_variables_and_what_is_no_name_are_handed_to_nobody(tmp_path: Path) -> None:
    names = ("SPENDGATE_TOKEN", "lower", "*", "", "A" * 127)
    assert asyncio.run(ask(tmp_path / "v.sock", *names)) == [None] * len(names)


def test_a_question_that_never_ends_is_not_answered_and_harms_nobody(tmp_path: Path) -> None:
    address = tmp_path / "v.sock"

    async def ask_badly() -> list[bytes | str | None]:
        async with serve_variables(ENVIRON, str(address)):
            reader, writer = await asyncio.open_unix_connection(str(address))
            writer.write(b"A" * 10_000)
            answered = await reader.read()
            writer.close()
            return [answered, await asyncio.to_thread(NamedVariables(str(address)), "OPENAI_API_KEY")]

    assert asyncio.run(ask_badly()) == [b"", "sk-1\u00fc"]


def test_without_a_supervisor_there_is_no_variable(tmp_path: Path) -> None:
    assert NamedVariables(str(tmp_path / "none.sock"))("OPENAI_API_KEY") is None


def test_a_supervisor_that_is_gone_is_an_error_and_asked_again(tmp_path: Path) -> None:
    address = tmp_path / "v.sock"
    variables = NamedVariables(str(address))
    address.touch()
    with pytest.raises(OSError, match="refused"):
        variables("OPENAI_API_KEY")
    address.unlink()
    assert asyncio.run(_asked_of(address, variables)) == "sk-1\u00fc"


async def _asked_of(address: Path, variables: NamedVariables) -> str | None:
    async with serve_variables(ENVIRON, str(address)):
        return await asyncio.to_thread(variables, "OPENAI_API_KEY")
