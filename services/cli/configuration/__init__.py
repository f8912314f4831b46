"""The configuration file: one file describes providers, models, prices, teams, policies, channels and keys.

`load_configuration` reads it and locates every mistake by file, line and column. `check`, `apply` and `up` use the same
loader, so a file that passes the check is what the gateway gets.
"""

from services.cli.configuration.entries import ConfigurationFile
from services.cli.configuration.loading import Configuration, load_configuration, read_configuration

__all__ = ["Configuration", "ConfigurationFile", "load_configuration", "read_configuration"]
