"""Environments of other gateways: one each, below `.bench-peers`, apart from everything that is ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tests.bench.processes import ROOT

_FOLDER = ROOT / ".bench-peers"
_MINUTES = 15


def installed(name: str, requirements: list[str]) -> Path:
    """The folder of programs of an environment that has these packages. Built at the first time.

    Raises:
        RuntimeError: a package cannot be installed; the text says why.
    """
    folder = _FOLDER / name
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements)
    if not done.exists() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        run(
            [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *requirements]
        )
        done.write_text(wanted)
    return folder / "bin"


def run(command: list[str | Path], environ: dict[str, str] | None = None) -> str:
    """The output of a program.

    Raises:
        RuntimeError: it failed; the text has the end of what it said.
    """
    print("running", *command, file=sys.stderr, flush=True)  # noqa: T201  (progress: it takes minutes)
    done = subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_MINUTES * 60
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-1500:].strip()}")
    return done.stdout
