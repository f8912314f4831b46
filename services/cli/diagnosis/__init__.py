"""The checks of `spendgate doctor`: the machine, the data directory, the configuration, and the running gateway."""

from services.cli.diagnosis.findings import Finding, Level
from services.cli.diagnosis.gateway import examine_gateway
from services.cli.diagnosis.machine import examine_configuration, examine_machine, examine_port

__all__ = ["Finding", "Level", "examine_configuration", "examine_gateway", "examine_machine", "examine_port"]
