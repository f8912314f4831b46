"""Starts the command `spendgate`. It imports the rest only when gRPC has been told how to behave."""

from __future__ import annotations

import importlib
import os


def keep_grpc_out_of_forks() -> None:
    """This process forks only to start other programs. Must be called before gRPC is imported.

    Left alone, gRPC revives its threads in the forked process, where all descriptors are closed before it becomes
    another program: now and then a thread finds its own gone and aborts what was to be quota or Envoy.
    """
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # noqa: TID251  (gRPC looks nowhere else)


def main() -> None:
    """Runs what the shell asks for."""
    keep_grpc_out_of_forks()
    importlib.import_module("services.cli.main").main()


if __name__ == "__main__":
    main()
