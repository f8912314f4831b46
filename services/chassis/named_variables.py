r"""Variables that a service asks of the supervisor one by one, so that it never holds those that nobody named.

A configuration names variables at any time, and `spendgate up` knows all of its shell's. It answers on a socket in the
`run` folder, where every process of a gateway works and which only its owner may enter. One connection is one question:

    -> OPENAI_API_KEY\n
    <- {"value": "sk-..."}\n        or {"value": null}, if there is no such variable
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from services.chassis.variables import PREFIX

SOCKET_NAME = "variables.sock"
MAX_QUESTION_BYTES = 129
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_TIMEOUT_S = 1.0
# A longer value is no credential.
_MAX_ANSWER_BYTES = 65_536


def answer(environ: Mapping[str, str], question: bytes) -> bytes:
    """Answers one question. Our own variables, among them the admin token, are nobody's credential."""
    name = question.decode("ascii", errors="replace").removesuffix("\n")
    is_given = _NAME.fullmatch(name) and not name.startswith(PREFIX)
    return json.dumps({"value": environ.get(name) if is_given else None}).encode() + b"\n"


class NamedVariables:
    """Asks for each variable once. A supervisor's own environment never changes."""

    def __init__(self, address: str) -> None:
        """`address`: path of the socket. If nobody listens there, there is no variable."""
        self._address = address
        self._known: dict[str, str | None] = {}

    def __call__(self, name: str) -> str | None:
        """Returns the value; None if there is none.

        Raises:
            OSError: there is a supervisor, and it did not answer in time.
        """
        if name not in self._known:
            if not Path(self._address).exists():
                return None
            self._known[name] = self._ask(name)
        return self._known[name]

    def _ask(self, name: str) -> str | None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(self._address)
            connection.sendall(f"{name}\n".encode("ascii"))
            received = b""
            while not received.endswith(b"\n"):
                piece = connection.recv(_MAX_ANSWER_BYTES)
                if not piece or len(received) > _MAX_ANSWER_BYTES:
                    raise ConnectionError(f"no whole answer about {name}")
                received += piece
        value = json.loads(received)["value"]
        return None if value is None else str(value)
