"""Entry point of `spendgate-ledger`."""

from __future__ import annotations

from services.chassis.process import run
from services.ledger.settings import Settings
from services.ledger.wiring import build


def main() -> None:
    """Runs the ledger until it is asked to stop."""
    run("spendgate-ledger", Settings.from_environ, build)


if __name__ == "__main__":
    main()
