"""A PostgreSQL server in a folder of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from tests.bench.processes import pinned
from tests.worlds.ports import free_port

_USER = "bench"
_START_S = 30
# Debian keeps its programs here, and not on the PATH.
_DEBIAN = "/usr/lib/postgresql"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server."""

    pid: int
    url: str


@contextmanager
def running_postgres(core: int | None) -> Iterator[Postgres]:
    """A server with one empty database.

    Raises:
        FileNotFoundError: the machine has no PostgreSQL.
        RuntimeError: it does not start; the text has its log.
    """
    programs = _programs()
    owner = _owner()
    # Not below a folder that only we may enter: the server may run as somebody else.
    folder = Path(mkdtemp(prefix="spendgate-postgres-"))
    shutil.chown(folder, owner)
    data, log = folder / "data", folder / "log"
    _run([programs / "initdb", "-D", data, "-U", _USER, "--auth", "trust", "--no-sync"], owner)
    port = free_port()
    with pinned(core), log.open("w") as output:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder],
            stdout=output,
            stderr=subprocess.STDOUT,
            user=owner,
            cwd=folder,
        )
    try:
        _wait(programs, port, server, log)
        yield Postgres(server.pid, f"postgresql://{_USER}@127.0.0.1:{port}/postgres")
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path(_DEBIAN).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise FileNotFoundError("no PostgreSQL here: install one, such as Debian's package postgresql")
    return versions[-1].parent


def _owner() -> str:
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _run(command: list[str | Path], owner: str) -> None:
    done = subprocess.run(command, user=owner, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def _wait(programs: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s and server.poll() is None:
        ready = subprocess.run([programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False)
        if not ready.returncode:
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")
