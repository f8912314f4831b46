"""The configuration file: one file describes providers, models, prices, teams, policies, channels and keys.

`load_configuration` reads it with every mistake located by file, line and column. The same loader serves `check`,
`apply` and `up`, so what passes the check is what the gateway is sent.
"""

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.loading import Configuration, load_configuration, read_configuration

__all__ = ["Configuration", "ConfigurationFile", "load_configuration", "read_configuration"]
