from __future__ import annotations

from pathlib import Path

from services.cli.configuration import read_configuration
from services.cli.key_secrets import KeySecrets, find_key_secrets

HEAD = "version: 1\norganization: acme\npolicies: [{name: p, limits: [{spend: 1, per: day}]}]\nkeys:\n"


def _find(folder: Path, key: str, **environ: str) -> KeySecrets:
    return find_key_secrets(read_configuration("f.yaml", HEAD + f"  - {key}\n", folder=folder), environ)


def test_a_secret_comes_from_the_environment_of_this_shell(tmp_path: Path) -> None:
    found = _find(tmp_path, "{name: app, secret: {env: APP}}", APP="imported-secret-0001")
    assert found == KeySecrets({"app": "imported-secret-0001"}, {})


def test_a_secret_comes_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "app.key").write_text("imported-secret-0001\n")
    found = _find(tmp_path, "{name: app, secret: {file: app.key}}")
    assert found == KeySecrets({"app": "imported-secret-0001"}, {})


def test_of_a_missing_secret_it_is_known_where_it_was_looked_for(tmp_path: Path) -> None:
    for key, place in (
        ("{name: app, secret: {env: APP}}", "environment variable APP is not set"),
        ("{name: app, secret: {file: app.key}}", f"{tmp_path}/app.key cannot be read (No such file or directory)"),
    ):
        found = _find(tmp_path, key)
        assert found.by_key == {}
        assert found.problems == {"app": place}


def test_an_unfit_secret_is_left_out_and_never_repeated(tmp_path: Path) -> None:
    for secret in ("short", "with space in the middle", "x" * 257, "umlaut-ä-umlaut-ä-umlaut"):
        found = _find(tmp_path, "{name: app, secret: {env: APP}}", APP=secret)
        assert found.by_key == {}
        assert "not 16 to 256 visible ASCII characters" in found.problems["app"]
        assert secret not in found.problems["app"]


def test_a_key_that_declares_no_secret_is_no_problem(tmp_path: Path) -> None:
    assert _find(tmp_path, "{name: app}") == KeySecrets({}, {})
