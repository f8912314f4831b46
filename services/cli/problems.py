"""Failures of a command. `main` turns them into texts and exit codes.

CommandError
+-- Refused   exit 1: understood, but the gateway, the machine or a rule says no
+-- Misuse    exit 2: the user's input makes no sense
"""

from __future__ import annotations


class CommandError(Exception):
    """The text says what is wrong, where, and what to do. It may have several lines."""

    exit_code = 1


class Refused(CommandError):  # noqa: N818  (reads as what it is)
    """Understood, but impossible."""


class Misuse(CommandError):  # noqa: N818
    """The command line or the configuration file is wrong."""

    exit_code = 2
