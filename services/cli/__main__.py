"""Starts the command `spendgate`. It configures gRPC before it imports anything else."""

from __future__ import annotations

import importlib
import os


def keep_grpc_out_of_forks() -> None:
    """Stops gRPC from reviving its threads in forked processes. Call this before gRPC is imported.

    This process forks only to start other programs, and closes all descriptors in the fork. A revived thread may find
    its descriptor closed, and abort the fork before it becomes quota or Envoy.
    """
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # noqa: TID251  (gRPC looks nowhere else)


def main() -> None:
    """Runs the shell's command."""
    keep_grpc_out_of_forks()
    importlib.import_module("services.cli.main").main()


if __name__ == "__main__":
    main()
