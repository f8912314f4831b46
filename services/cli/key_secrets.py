"""Finds the secrets of declared keys: in the environment of this shell, or in files beside the configuration.

A secret that is not there is a warning, never a failure: the key is declared without one, keeps what the gateway
knows from before, and can get one later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.cli.configuration import Configuration
from services.cli.configuration.entries import KeyEntry

_SECRET = re.compile(r"[!-~]{16,256}")


@dataclass(frozen=True, slots=True)
class KeySecrets:
    """What was found."""

    by_key: Mapping[str, str]
    warnings: tuple[str, ...]


def find_key_secrets(configuration: Configuration, environ: Mapping[str, str]) -> KeySecrets:
    """Resolves the `secret` of each key. No text ever repeats a secret."""
    found: dict[str, str] = {}
    warnings: list[str] = []
    for key in configuration.file.keys:
        if key.secret is None:
            continue
        secret, problem = _find(configuration, key, environ)
        if secret is None:
            warnings.append(f"key {key.name}: {problem}; it keeps the secret that the gateway knows, if any")
        elif not _SECRET.fullmatch(secret):
            warnings.append(f"key {key.name}: its secret is not 16 to 256 visible ASCII characters: left out")
        else:
            found[key.name] = secret
    return KeySecrets(found, tuple(warnings))


def _find(configuration: Configuration, key: KeyEntry, environ: Mapping[str, str]) -> tuple[str | None, str]:
    if key.secret is None:
        return None, "none is declared"
    if key.secret.env is not None:
        return environ.get(key.secret.env) or None, f"environment variable {key.secret.env} is not set"
    path = configuration.folder / (key.secret.file or "")
    try:
        return path.read_text(encoding="ascii").strip() or None, f"{path} is empty"
    except OSError as error:
        return None, f"{path} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return None, f"{path} is not ASCII text"
