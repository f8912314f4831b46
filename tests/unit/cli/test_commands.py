from __future__ import annotations

import subprocess
import sys

import typer.main

from services.cli.main import build_app

_PROGRAM = "import sys; from services.cli.main import build_app; build_app(sys.argv[1]); print(*sys.modules)"


def _commands(app: typer.Typer) -> dict[str, object]:
    # Typer's groups have this attribute; its types do not say so.
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_each_command_is_the_same_alone_as_among_all() -> None:
    together = _commands(build_app())

    assert {"up", "keys", "status"} <= together.keys()
    for name, command in together.items():
        (alone,) = _commands(build_app(name)).items()
        assert (alone[0], type(alone[1]), alone[1].help) == (name, type(command), command.help)  # type: ignore[attr-defined]


def test_an_argument_that_is_no_command_leaves_all_to_choose_from() -> None:
    assert _commands(build_app("keyz")).keys() == _commands(build_app("--help")).keys() == _commands(build_app()).keys()


def test_the_gateway_that_runs_for_months_does_not_hold_what_other_commands_need() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, "up"], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert "services.cli.commands.up" in loaded
    others = {"services.cli.commands.keys", "services.cli.demo.command", "rich", "pygments", "httpx", "sqlalchemy"}
    assert loaded & others == set()
