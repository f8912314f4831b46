"""The house rules, over the whole tree. `rules.py` and CONTRIBUTING.md explain the rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePath

import pytest

from tests.tidy import lua_rules, rules

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("services", "protos", "envoy", "deploy", "docs", "tests", ".ci")
TEXT_SUFFIXES = {".py", ".lua", ".md", ".proto", ".yaml", ".yml", ".toml", ".json", ".sql", ".html", ".css", ".js", ""}

KERNEL = ROOT / "services" / "kernel"
# The newest are `repetition`: the ports and use cases of all services name requests that may be repeated; and
# `trace_context`: quota says where a span hangs, and the ledger writes it.
KERNEL_MAX_MODULES = 19
KERNEL_MAX_LINES = 250

# The only places that may know the time or the environment of a process: where it starts.
STARTING_PLACES = {"main.py", "__main__.py", "wiring.py"}
BUILD_HOOK = {PurePath("protos/build.py"), PurePath("protos/envoy_descriptors.py")}


@cache
def tree() -> dict[PurePath, str]:
    """Every text file of the project by its path from the root."""
    # `.git` is a file in a worktree, and none of the project.
    files = [
        path
        for path in ROOT.iterdir()
        if path.is_file() and path.suffix in {".md", ".toml", ""} and path.name != ".git"
    ]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        PurePath(path.relative_to(ROOT)): path.read_text("utf-8")
        for path in sorted(files)
        if path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
    }


def chosen(suffixes: set[str], *roots: str) -> dict[PurePath, str]:
    """The files of these kinds under these folders."""
    return {
        path: text
        for path, text in tree().items()
        if path.suffix in suffixes and (not roots or any(path.is_relative_to(root) for root in roots))
    }


def broken(rule: Callable[[PurePath, str], Iterator[str]], files: dict[PurePath, str]) -> list[str]:
    assert files, "a rule without files proves nothing"
    return [problem for path, text in files.items() for problem in rule(path, text)]


def test_files_are_short() -> None:
    assert broken(rules.is_short, chosen({".py", ".lua"})) == []


def test_functions_are_short() -> None:
    assert broken(rules.has_short_functions, chosen({".py"})) == []


@pytest.mark.parametrize(
    "rule",
    [
        lua_rules.says_what_it_is,
        lua_rules.has_narrow_lines,
        lua_rules.has_short_functions,
        lua_rules.is_module_or_script,
    ],
)
def test_lua_keeps_the_house_rules(rule: Callable[[PurePath, str], Iterator[str]]) -> None:
    assert broken(rule, chosen({".lua"}, "envoy")) == []


def test_files_are_named_for_what_they_do() -> None:
    assert broken(rules.has_a_telling_name, tree()) == []


def test_nothing_is_left_open_in_the_code() -> None:
    assert broken(rules.is_finished, tree()) == []


def test_lines_and_files_end_cleanly() -> None:
    assert broken(rules.has_clean_ends, tree()) == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert broken(rules.names_no_machine, tree()) == []


@pytest.mark.parametrize("rule", [rules.reads_no_clock, rules.reads_no_environment])
def test_time_and_settings_come_in_where_a_process_starts(rule: Callable[[PurePath, str], Iterator[str]]) -> None:
    files = {
        path: text
        for path, text in chosen({".py"}, "services").items()
        if path.name not in STARTING_PLACES and path != PurePath("services/chassis/process.py")
    }

    assert broken(rule, files) == []


def test_no_float_touches_money() -> None:
    counting = chosen(
        {".py"},
        "services/kernel/money.py",
        "services/kernel/price.py",
        "services/kernel/usage.py",
        "services/quota/domain",
        "services/quota/usecases",
        "services/ledger/domain",
        "services/ledger/usecases",
    )
    # Words for people: it writes basis points as a percentage.
    del counting[PurePath("services/quota/usecases/explain.py")]

    assert broken(rules.counts_in_integers, counting) == []


def test_tests_touch_no_private_name() -> None:
    assert broken(rules.touches_no_private_name, chosen({".py"}, "tests")) == []


def test_folders_that_share_a_name_with_a_package_hold_no_python() -> None:
    # Envoy's wheel owns the import name `envoy`: one stray module in our folder of that name would break it.
    stray = set(chosen({".py"}, "envoy", "protos", "deploy")) - BUILD_HOOK

    assert stray == set()


def test_the_package_of_all_services_holds_no_code() -> None:
    # Another wheel may bring a package of this name, and take the file with it: docs/adr/0023.
    [only] = ast.parse(tree()[PurePath("services/__init__.py")]).body

    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


def test_each_proto_service_of_ours_is_one_file_of_its_name() -> None:
    missing = []
    for path, text in chosen({".proto"}, "protos/spendgate").items():
        for name in re.findall(r"^service (\w+) ", text, re.MULTILINE):
            file = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            transport = PurePath("services") / path.parts[2] / "transport" / f"{file}.py"
            if f"class {name}(" not in tree().get(transport, ""):
                missing.append(f"{path}: no class {name} in {transport}")

    assert missing == []


def test_rest_answers_whole_messages() -> None:
    # Envoy 1.40 does not load a transcoder with `response_body`, except for google.api.HttpBody, and with it the whole
    # admin listener.
    with_part = [path for path, text in chosen({".proto"}, "protos/spendgate").items() if "response_body" in text]

    assert with_part == []


def test_the_kernel_stays_small() -> None:
    modules = [path for path in KERNEL.glob("*.py") if path.name != "__init__.py"]

    assert len(modules) <= KERNEL_MAX_MODULES
    assert [path.name for path in modules if path.read_text().count("\n") > KERNEL_MAX_LINES] == []


def test_every_kernel_module_serves_at_least_two_packages() -> None:
    users: dict[str, set[str]] = {
        f"services.kernel.{path.stem}": set() for path in KERNEL.glob("*.py") if path.name != "__init__.py"
    }
    for path, text in chosen({".py"}, "services").items():
        package = path.parts[1]
        if package != "kernel":
            for name in set(rules.imported_modules(text)) & users.keys():
                users[name].add(package)

    assert {name: packages for name, packages in users.items() if len(packages) < 2} == {}
