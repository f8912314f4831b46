"""What a credential must look like to go into a header."""

from __future__ import annotations

MAX_CREDENTIAL_CHARS = 8_192


def without_line_end(text: str) -> str:
    """Returns the credential in a file's text. Editors end a file with a newline, which is not part of it."""
    return text.removesuffix("\n").removesuffix("\r")


def why_unusable(value: str) -> str | None:
    """Returns what is wrong with a credential, to be read after its name; None when nothing is."""
    if not value.strip():
        return "is empty"
    if len(value) > MAX_CREDENTIAL_CHARS:
        return f"is longer than {MAX_CREDENTIAL_CHARS} characters"
    if not all(" " < character <= "~" for character in value):
        return "holds blanks, line breaks or characters that no header can carry"
    return None
