"""The guide names the clients that are tested, in the versions that are tested."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "tests" / "clients"


def test_the_guide_has_the_versions_that_are_tested() -> None:
    guide = (ROOT / "docs" / "application-developer.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \((Python|Node)\) \| (\S+) \|", guide, re.MULTILINE)
    pinned = {"Node": _of_node(), "Python": _of_python()}

    assert len(rows) > 10
    assert [row for row in rows if pinned[row[1]].get(row[0]) != row[2]] == []


def _of_node() -> dict[str, str]:
    return dict(json.loads((CLIENTS / "node" / "package.json").read_text())["dependencies"])


def _of_python() -> dict[str, str]:
    apart = [
        line.partition("==")
        for file in (CLIENTS / "python" / "requirements").glob("*.txt")
        for line in file.read_text().splitlines()
    ]
    # Our own environment comes last: the SDKs are tested in it.
    ours = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {name: version for name, _, version in apart} | {
        package["name"]: package["version"] for package in ours if "version" in package
    }
