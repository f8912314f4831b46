"""Entry point of the ledger process."""

from __future__ import annotations

from services.chassis.process import run
from services.ledger.wiring import build


def main() -> None:
    """Runs the ledger until SIGTERM."""
    run("ledger", build)


if __name__ == "__main__":
    main()
