"""Envoy's configuration, its Lua and our Python spell every shared name as the contracts in `services.kernel` do."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path

import pytest

from services.chassis.named_variables import SOCKET_NAME
from services.kernel import envoy_contract, spool_contract
from services.router.adapters.envoy_resources_scripts import bundle

ROOT = Path(__file__).resolve().parents[2]
ENVOY = ROOT / "envoy"

SPEAKERS = sorted(
    [
        *ENVOY.rglob("*.yaml"),
        *ENVOY.rglob("*.lua"),
        *(
            path
            for path in (ROOT / "services").rglob("*.py")
            if path.name not in {"envoy_contract.py", "spool_contract.py"}
        ),
    ]
)
CONTRACT = {
    value
    for contract in (envoy_contract, spool_contract)
    for name, value in vars(contract).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("_")
}
# Names of the same form that are not metadata: packages of our protos, and names of loggers.
PROTO_PACKAGE = re.compile(r"spendgate\.(quota|router|ledger|type)\.v1")
HEADER = re.compile(r"x-spendgate-[a-z0-9-]*[a-z0-9]")
# Not what follows runtime_key: runtime keys are names that only Envoy itself reads.
NAMESPACE = re.compile(r"""(?<!runtime_key=)["'](spendgate\.[a-z_.]+)["']""")


def test_the_contract_is_not_empty() -> None:
    assert "spendgate.request" in CONTRACT
    assert "x-spendgate-model-served" in CONTRACT
    assert len(SPEAKERS) > 20


@pytest.mark.parametrize("path", SPEAKERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_header_of_ours_is_in_the_contract(path: Path) -> None:
    spoken = set(HEADER.findall(path.read_text()))

    assert spoken - CONTRACT == set()


@pytest.mark.parametrize(
    "path",
    [path for path in SPEAKERS if path.suffix != ".py" or path.name.startswith("envoy_resources")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_metadata_namespace_of_ours_is_in_the_contract(path: Path) -> None:
    spoken = {name for name in NAMESPACE.findall(path.read_text()) if not PROTO_PACKAGE.match(name)}

    assert spoken - CONTRACT == set()


@pytest.mark.parametrize(
    ("script", "keys"),
    [
        ("request_info", set(envoy_contract.RequestKey)),
        ("request_info", set(envoy_contract.ScanKey)),
        ("target", set(envoy_contract.TargetKey)),
        ("target", set(envoy_contract.AttemptKey)),
    ],
)
def test_lua_knows_every_key_of_its_contract(script: str, keys: set[StrEnum]) -> None:
    words = set(re.findall(r"\w+", bundle(ENVOY / "lua", script)))

    assert keys
    assert {key.value for key in keys} - words == set()


def test_envoy_and_python_mean_the_same_sockets() -> None:
    piped = set(re.findall(r"pipe: \{path: ([^,}]+)", (ENVOY / "bootstrap.yaml").read_text()))
    literal = re.compile(r"(unix:)?[a-z-]+\.sock")
    spelt = {
        node.value
        for path in SPEAKERS
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and literal.fullmatch(node.value)
    }

    # Where Checks are answered, and by how many, comes over ADS.
    assert piped == set(envoy_contract.Socket) - {envoy_contract.Socket.QUOTA}
    # Envoy has no part in this one.
    assert spelt == {SOCKET_NAME}
