"""Finds the secrets of declared keys, in this shell's environment or in files beside the configuration.

A missing secret is not an error. The key is then declared without one, keeps any secret that the gateway already has,
and can get one later. The gateway knows whether it has one, and warns with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.cli.configuration import Configuration
from services.cli.configuration.entries import SecretReference

_SECRET = re.compile(r"[!-~]{16,256}")


@dataclass(frozen=True, slots=True)
class KeySecrets:
    """The secrets that were found."""

    by_key: Mapping[str, str]
    problems: Mapping[str, str]
    """Why a key has none, by its name: a clause that names the variable or file."""


def find_key_secrets(configuration: Configuration, environ: Mapping[str, str]) -> KeySecrets:
    """Resolves the `secret` of each key. No text ever repeats a secret."""
    found: dict[str, str] = {}
    problems: dict[str, str] = {}
    for key in configuration.file.keys:
        if key.secret is None or key.secret.none:
            continue
        secret, problem = _find(configuration, key.secret, environ)
        if secret is None:
            problems[key.name] = problem
        elif not _SECRET.fullmatch(secret):
            problems[key.name] = "its value is not 16 to 256 visible ASCII characters"
        else:
            found[key.name] = secret
    return KeySecrets(found, problems)


def _find(configuration: Configuration, secret: SecretReference, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if secret.env is not None:
        return environ.get(secret.env) or None, f"environment variable {secret.env} is not set"
    path = configuration.folder / (secret.file or "")
    try:
        return path.read_text(encoding="ascii").strip() or None, f"{path} is empty"
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return None, f"{path} is not ASCII text"
