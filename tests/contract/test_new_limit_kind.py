"""A limit kind is one row: a copy of the tree gets another kind, and every part of the gateway knows it.

The copy changes only where CONTRIBUTING.md says: the row, the value on the wire, the field of the configuration file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("services", "protos", "tests/worlds", "envoy")
SEEN_BY = "tests/contract/new_limit_kind.py"

# Output tokens count four times, as they cost about four times as much.
MEASURE = "lambda of: of.input_tokens + 4 * of.output_tokens"
ROW = f'    WEIGHTED_TOKENS = "weighted_tokens", LimitKindRow("weighted tokens", {MEASURE})'
ADDITIONS = {
    "services/kernel/limit_kind.py": (r'    REQUESTS = "requests", .*\n', f"{ROW}\n"),
    "protos/spendgate/quota/v1/quota_service.proto": (
        r"  LIMIT_KIND_BURN_RATE = \d+;\n",
        "  // Input tokens and four times the output tokens.\n  LIMIT_KIND_WEIGHTED_TOKENS = 90;\n",
    ),
    "services/cli/configuration/policy_entries.py": (
        r"    requests: Count \| None = None\n",
        "    weighted_tokens: Count | None = None\n",
    ),
}


def test_another_limit_kind_is_stored_held_refused_settled_shown_and_reconciled_by_its_row_alone(
    tmp_path: Path,
) -> None:
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, added) in ADDITIONS.items():
        text = (tmp_path / name).read_text()
        (place,) = re.finditer(before, text)
        (tmp_path / name).write_text(text[: place.end()] + added + text[place.end() :])
    run(tmp_path, "protos/build.py")

    (tmp_path / SEEN_BY).parent.mkdir()
    shutil.copy(ROOT / SEEN_BY, tmp_path / SEEN_BY)
    run(tmp_path, SEEN_BY)


def run(folder: Path, *arguments: str) -> None:
    """Runs Python in the copy, whose modules come before all others."""
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder / 'gen'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
