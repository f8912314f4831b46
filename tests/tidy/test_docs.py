"""The documentation has everything that a user can meet, and everything that it names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from services.chassis.settings import Environ
from services.chassis.variables import VARIABLES
from services.cli.configuration import load_configuration
from services.cli.main import build_app
from services.ledger.settings import Settings as LedgerSettings
from services.quota.domain.policies.denial import Denial
from services.quota.settings import Settings as QuotaSettings
from services.quota.transport.dialects.wording import CLASSIFICATIONS
from services.router.settings import Settings as RouterSettings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "envoy").glob("*.md"),
    ]
)
_VARIABLE = re.compile(r'"(SPENDGATE_[A-Z_]*[A-Z]|OTEL_[A-Z_]+)"')
_RPC = re.compile(r"^\s*rpc (\w+)\(", re.MULTILINE)
_PATH = re.compile(r"`((?:services|protos|envoy|tests|docs|deploy)/[\w./*-]+)`")
_ATTRIBUTE = re.compile(r'(?<!getLogger\()"((?:spendgate|gen_ai)\.[a-z_.]+)"')
_SPANS = ("services/ledger/adapters/otlp_spans.py",)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
_ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"Example: (spendgate .+)")
# Read by `spendgate-simulator` alone, which its own docstring describes.
_UNDOCUMENTED_VARIABLES = {"SPENDGATE_SIMULATOR_KEY"}


@cache
def document(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def variables() -> set[str]:
    """Every environment variable of ours that the code names, where it reads or sets it."""
    sources = [path for path in (ROOT / "services").rglob("*.py") if path.name != "variables.py"]
    named = {name for path in sources for name in _VARIABLE.findall(path.read_text())}
    return named - _UNDOCUMENTED_VARIABLES


def attributes() -> set[str]:
    """Every attribute that our spans carry."""
    return {name for path in _SPANS for name in _ATTRIBUTE.findall(document(path))}


def rpcs() -> set[str]:
    return {name for path in (ROOT / "protos").rglob("*.proto") for name in _RPC.findall(path.read_text())}


@cache
def command_line() -> Any:
    """The whole command line, built once."""
    return typer.main.get_command(build_app())


def commands() -> Iterator[list[str]]:
    """Every command of the command line as its words, groups resolved."""

    def walk(command: object, words: list[str]) -> Iterator[list[str]]:
        subcommands: dict[str, object] | None = getattr(command, "commands", None)
        if subcommands is None:
            yield words
            return
        for name, subcommand in subcommands.items():
            yield from walk(subcommand, [*words, name])

    yield from walk(command_line(), [])


def anchors(path: Path) -> set[str]:
    """What a link can name of a page: its headings, spelt as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_shown(text: str) -> Iterator[str]:
    """The commands of ours in the shell blocks of a page, each up to its comment or pipe."""
    for block in _SHELL.findall(text):
        for line in block.splitlines():
            command = line.strip().removeprefix(".venv/bin/")
            if command.startswith("spendgate "):
                yield command


def parse_command(shown: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parses a command as the shell would start it, and runs nothing. Raises what the command line would say."""
    monkeypatch.chdir(folder)
    words = shlex.split(shown.partition(" | ")[0], comments=True)[1:]
    for word in words:
        if word.endswith((".yaml", ".pem")):
            (folder / word).parent.mkdir(parents=True, exist_ok=True)
            (folder / word).touch()
    command = command_line()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    command.make_context(shown, words)


def test_every_variable_is_in_the_settings() -> None:
    assert len(variables()) > 10
    assert {name for name in variables() if f"`{name}`" not in document("docs/settings.md")} == set()


def test_every_variable_in_the_settings_exists() -> None:
    documented = set(re.findall(r"`(SPENDGATE_[A-Z_]*[A-Z])`", document("docs/settings.md")))

    assert documented - variables() == set()


def test_every_variable_that_the_code_names_is_accepted_and_no_other() -> None:
    ours = {name for name in variables() if name.startswith("SPENDGATE_")}

    assert ours | _UNDOCUMENTED_VARIABLES == VARIABLES


class Recording(dict[str, str]):
    """An environment that notes which names it was asked for."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


@pytest.mark.parametrize(
    ("service", "settings"), [("quota", QuotaSettings), ("router", RouterSettings), ("ledger", LedgerSettings)]
)
def test_the_settings_say_of_each_variable_which_service_reads_it(service: str, settings: Any) -> None:
    environ = Recording(SPENDGATE_DATA_DIR="/data", SPENDGATE_OTLP_ENDPOINT="127.0.0.1:4317")
    settings.from_environ(Environ(environ))
    table = document("docs/settings.md").partition("## Variables of the services")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(SPENDGATE_\w+)` \| ([^|]*) \|", table, re.MULTILINE)
    documented = {name for name, readers in rows if {"all", service} & set(readers.split(", "))}

    assert environ.asked | {"SPENDGATE_LOG_LEVEL"} == documented


def test_every_rpc_is_in_the_settings() -> None:
    assert {name for name in rpcs() if f"`{name}`" not in document("docs/settings.md")} == set()


def test_every_attribute_of_our_spans_is_in_the_page_on_traces() -> None:
    assert len(attributes()) > 20
    assert {name for name in attributes() if f"`{name}`" not in document("docs/tracing.md")} == set()


@pytest.mark.parametrize("denial", Denial)
def test_every_denial_is_explained_with_what_the_three_dialects_make_of_it(denial: Denial) -> None:
    row = next(
        (line for line in document("docs/errors.md").splitlines() if line.startswith(f"| `{denial.value}` ")), ""
    )

    made = CLASSIFICATIONS[denial]
    cells = [cell.strip().strip("`") for cell in row.split("|")]
    assert cells[2:6] == [str(made.status), made.openai_code, made.anthropic_type, made.gemini_status]


def test_denials_are_explained_in_the_order_of_their_precedence() -> None:
    explained = re.findall(
        r"^\| `(\w+)` \|", document("docs/errors.md").partition("## Answers of Envoy")[0], re.MULTILINE
    )

    assert explained == [denial.value for denial in Denial]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_is_in_the_settings(words: list[str]) -> None:
    rows = [line for line in document("docs/settings.md").splitlines() if line.startswith(f"| `spendgate {words[0]}")]

    assert any(f"`spendgate {' '.join(words)}`" in row or f"`{words[-1]}`" in row for row in rows)


def test_every_command_in_the_settings_exists() -> None:
    documented = set(re.findall(r"^\| `spendgate ([a-z]+)", document("docs/settings.md"), re.MULTILINE))

    assert documented - {words[0] for words in commands()} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(path: Path) -> None:
    text = path.read_text("utf-8")

    missing = {name for name in _PATH.findall(text) if not any(ROOT.glob(name.rstrip("/")))}
    broken = {target for target in _LINK.findall(text) if not (path.parent / target).exists()}
    assert missing | broken == set()


def test_every_page_that_the_code_refers_to_exists() -> None:
    sources = [
        *(ROOT / "services").rglob("*.py"),
        *(ROOT / "envoy").rglob("*.lua"),
        *(ROOT / "protos").rglob("*.proto"),
    ]
    named = {page for path in sources for page in re.findall(r"(?:docs|envoy)/[\w/-]+\.md", path.read_text("utf-8"))}

    assert {page for page in named if not (ROOT / page).is_file()} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_whole_configuration_in_a_document_loads_as_it_stands(path: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(version: 1\n.*?)```", path.read_text("utf-8"), re.DOTALL)

    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, "utf-8")
        load_configuration(file)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_heading_that_a_link_names_exists(path: Path) -> None:
    links = _ANCHOR.findall(path.read_text("utf-8"))

    assert [
        f"{page}#{anchor}" for page, anchor in links if anchor not in anchors(path.parent / page if page else path)
    ] == []


def test_the_readme_leads_to_every_guide() -> None:
    guides = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}

    assert guides - set(_LINK.findall(document("README.md"))) == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_is_taken_as_it_stands(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shown in commands_shown(path.read_text("utf-8")):
        parse_command(shown, tmp_path, monkeypatch)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_an_example_that_it_takes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = command_line()
    for word in words:
        command = command.commands[word]
    [shown] = _EXAMPLE.findall(command.help)

    assert shown.startswith(f"spendgate {' '.join(words)}")
    parse_command(shown, tmp_path, monkeypatch)
