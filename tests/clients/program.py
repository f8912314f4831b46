"""A program that calls the gateway for a test: one job a line on standard input, one answer a line on standard output.

    with run_program(node_script("sdks.mjs"), folder) as sdks:
        sdks.ask({"sdk": "openai", ...})

Job and answer are JSON objects. An answer has either `value`, or `error` with what the library raised.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.install import ROOT

_STOP_TIMEOUT_S = 20
# Credentials and addresses of whoever runs the tests are nothing to the programs under test.
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")

# What calls home, calls nobody: gateways in tests have no TLS.
_NOBODY = "http://127.0.0.1:9"


class Raised(Exception):  # noqa: N818  (named for what it tells)
    """What a library raised."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['kind']}: {error['message']}")
        self.kind: str = error["kind"]
        """The name of its class."""
        self.message: str = error["message"]
        self.status: int | None = error.get("status")
        """The HTTP status, if the library tells it."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running program."""

    process: subprocess.Popen[str]
    log: Path

    def ask(self, job: dict[str, Any]) -> Any:
        """The value of the answer.

        Raises:
            Raised: the library raised something.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.line())
        if "error" in answer:
            raise Raised(answer["error"])
        return answer["value"]

    def line(self) -> str:
        """The next line that it writes."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the program ended:\n{self.log.read_text()[-4000:]}"
        return line.rstrip("\n")


@contextmanager
def run_program(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Iterator[Program]:
    """Runs a program until the block ends. What it writes to standard error is in `folder`."""
    log_path = folder / "program.log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=own_environment(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Program(process, log_path)
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def own_environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The variables that a program of others sees."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    nobody = {"HTTPS_PROXY": _NOBODY, "https_proxy": _NOBODY, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return kept | nobody | (more or {})
