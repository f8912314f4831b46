"""`spendgate credentials`: keys of providers, sealed so that a copy of the data directory shows none."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from services.chassis.credential_text import MAX_CREDENTIAL_CHARS, why_unusable, without_line_end
from services.chassis.private_file import write_private
from services.chassis.sealed_text import KEY_VARIABLE, SealError, SealingKeys, is_sealed, new_sealing_key
from services.chassis.settings import Environ, SettingsError
from services.cli.printing import Listing, print_result, remark
from services.cli.problems import Misuse, Refused
from services.cli.session import DEFAULT_DATA_DIR, JsonOption, session_of
from services.cli.supervisor.data_directory import SECRETS_FOLDER

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_FILES = 10_000

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the file that {file: NAME} refers to.")]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="SPENDGATE_DATA_DIR", metavar="DIR", help="Data directory of the gateway.")
]


def build_credentials() -> typer.Typer:
    """Builds the group `credentials`."""
    group = typer.Typer(
        help=f"Keys of providers, in the folder that {{file: NAME}} reads. {KEY_VARIABLE} seals them.",
        no_args_is_help=True,
    )
    group.command("new-key")(new_key)
    group.command()(put)
    group.command("list")(list_credentials)
    group.command()(seal)
    return group


def new_key(*, json: JsonOption = False) -> None:
    """Makes a key that seals credentials.

    Keep it outside the data directory, for example in your secret store, and give it to `spendgate up` and to this
    command as SPENDGATE_CREDENTIALS_KEY, or as a file that SPENDGATE_CREDENTIALS_KEY_FILE names.

    Example: spendgate credentials new-key
    """
    made = new_sealing_key()
    print_result({"key": made}, made, as_json=json)


def put(
    context: typer.Context,
    name: NameArgument,
    *,
    plain: Annotated[bool, typer.Option("--plain", help="Keep it in clear, not sealed.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    json: JsonOption = False,
) -> None:
    """Stores the key of a provider, read from standard input or asked for. A running gateway takes it within seconds.

    Example: spendgate credentials put openai
    """
    if not _NAME.fullmatch(name):
        raise Misuse(f"{name[:80]!r}: write letters, digits, dots, hyphens and underscores, with no dot in front")
    keys = _keys(context)
    if not keys.by_id and not plain:
        raise Refused(
            f"{KEY_VARIABLE} is not set: make a key with `spendgate credentials new-key`, or keep the credential in "
            "clear with --plain"
        )
    value = without_line_end(_read_input(name))
    if problem := why_unusable(value):
        raise Misuse(f"the credential {problem}")
    if is_sealed(value):
        raise Misuse("this is a sealed credential: give the credential itself")
    path = _folder(data_dir) / name
    is_new = not path.exists()
    write_private(path, f"{value if plain else keys.seal(name, value)}\n")
    how = "in clear" if plain else "sealed"
    text = f"{'stored' if is_new else 'replaced'} {path}, {how}; refer to it with {{file: {name}}}"
    print_result({"name": name, "path": str(path), "kept": how, "replaced": not is_new}, text, as_json=json)


def list_credentials(
    context: typer.Context, *, data_dir: DataDirOption = DEFAULT_DATA_DIR, json: JsonOption = False
) -> None:
    """Shows which credentials are kept, and how. It shows no credential.

    Example: spendgate credentials list
    """
    keys = _keys(context)
    listing: Listing[Path] = Listing(
        name="credentials",
        columns=("NAME", "KEPT", "CHANGED"),
        row=lambda path: (_name_of(path, data_dir), _kept(keys, path, data_dir), _changed(path)),
        document=lambda path: {
            "name": _name_of(path, data_dir),
            "kept": _kept(keys, path, data_dir),
            "changed_at": _changed(path),
        },
        empty="No credentials yet: store one with `spendgate credentials put NAME`.",
    )
    listing.print(_files(data_dir), as_json=json)


def seal(context: typer.Context, *, data_dir: DataDirOption = DEFAULT_DATA_DIR, json: JsonOption = False) -> None:
    """Seals every credential that is kept in clear or with an older key. A running gateway notices nothing.

    To change the key, set SPENDGATE_CREDENTIALS_KEY to the new and the old one, "NEW,OLD", start the gateway with both,
    run this, and then take the old one away.

    Example: spendgate credentials seal
    """
    keys = _keys(context)
    if not keys.by_id:
        raise Refused(f"{KEY_VARIABLE} is not set: make a key with `spendgate credentials new-key`")
    sealed, failed = [], []
    for path in _files(data_dir):
        name = _name_of(path, data_dir)
        try:
            text = path.read_text()
            if is_sealed(text) and keys.is_current(text.strip()):
                continue
            clear = keys.open(name, text.strip()) if is_sealed(text) else without_line_end(text)
            if problem := why_unusable(clear):
                failed.append(f"{name}: it {problem}")
                continue
            write_private(path, f"{keys.seal(name, clear)}\n")
            sealed.append(name)
        except (SealError, OSError, UnicodeDecodeError) as error:
            failed.append(f"{name}: {error}")
    for problem in failed:
        remark(f"warning: left as it is: {problem}")
    count = f"sealed {len(sealed)} credential{'' if len(sealed) == 1 else 's'}"
    print_result({"sealed": sealed, "left": failed}, count, as_json=json)
    if failed:
        raise typer.Exit(1)


def _keys(context: typer.Context) -> SealingKeys:
    try:
        return SealingKeys.from_environ(Environ(session_of(context).environ))
    except SettingsError as error:
        raise Misuse(str(error)) from error


def _read_input(name: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Credential for {name}", hide_input=True, err=True))
    # Windows line ends and one character too many are seen below.
    return sys.stdin.read(MAX_CREDENTIAL_CHARS + 3)


def _folder(data_dir: Path) -> Path:
    folder = data_dir / SECRETS_FOLDER
    if not data_dir.exists():
        data_dir.mkdir(mode=0o700, parents=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _files(data_dir: Path) -> list[Path]:
    """The files of the folder and of folders below it, by name."""
    folder = data_dir / SECRETS_FOLDER
    # Kubernetes keeps what it mounts in hidden folders, and links to it.
    found = [path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder))]
    if len(found) > _MAX_FILES:
        raise Refused(f"{folder} holds more than {_MAX_FILES} files")
    return sorted(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _name_of(path: Path, data_dir: Path) -> str:
    return str(path.relative_to(data_dir / SECRETS_FOLDER))


def _kept(keys: SealingKeys, path: Path, data_dir: Path) -> str:
    try:
        text = path.read_text()
        if not is_sealed(text):
            return "in clear"
        keys.open(_name_of(path, data_dir), text.strip())
        return "sealed" if keys.is_current(text.strip()) else "sealed with an older key"
    except SealError as error:
        return f"cannot be opened: {error}"
    except (OSError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
