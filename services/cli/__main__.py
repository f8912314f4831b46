"""Starts the command `spendgate`. It configures gRPC before it imports anything else."""

from __future__ import annotations

import importlib
import os


def keep_grpc_out_of_forks() -> None:
    """This process forks only to start other programs. Call this before gRPC is imported.

    By default gRPC revives its threads in the forked process, where all descriptors are closed before it becomes
    another program. Occasionally a thread finds its own descriptor gone and aborts the future quota or Envoy.
    """
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # noqa: TID251  (gRPC looks nowhere else)


def main() -> None:
    """Runs the shell's command."""
    keep_grpc_out_of_forks()
    importlib.import_module("services.cli.main").main()


if __name__ == "__main__":
    main()
