"""Reads Envoy's own message definitions out of the pinned Envoy binary.

Every C++ protobuf file embeds its serialized ``FileDescriptorProto`` in the binary. Taking the definitions from
there keeps our stubs in lock-step with the proxy that we run, work-in-progress extensions included, and needs no
package of stubs at run time (`xds-protos` overwrites modules of the OpenTelemetry exporter).
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

# Field number -> wire type in google.protobuf.FileDescriptorProto.
_WIRE_TYPES = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 0, 11: 0, 12: 2, 14: 0, 15: 2}
_SINGULAR = frozenset({1, 2, 8, 9, 12})
_LONGEST_FIELD = 2_000_000
_HEAD = re.compile(rb"\x0a([\x08-\x7f])([A-Za-z0-9_\-/.]+?\.proto)")


def read_descriptors(binary: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """All message definitions inside `binary`, by their file name."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        for match in _HEAD.finditer(image):
            if match.group(1)[0] != len(match.group(2)):
                continue
            descriptor = _parse(image[match.start() : _end_of_message(image, match.start())])
            if descriptor is None:
                continue
            known = found.get(descriptor.name)
            # A name may also occur as a dependency of another file; the longest reading is the file itself.
            if known is None or known.ByteSize() < descriptor.ByteSize():
                found[descriptor.name] = descriptor
    return found


def closure(
    files: dict[str, descriptor_pb2.FileDescriptorProto], roots: list[str]
) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files that `roots` need, dependencies first.

    Raises:
        KeyError: a root or a dependency is not in `files`, so the binary is not the one we know.
    """
    ordered: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for dependency in files[name].dependency:
                visit(dependency)
            ordered[name] = files[name]

    for root in roots:
        visit(root)
    return list(ordered.values())


def _varint(image: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift <= 63:
        byte = image[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
    raise ValueError("not a varint")


def _end_of_message(image: mmap.mmap, at: int) -> int:
    """Walks field by field until a tag that no FileDescriptorProto has."""
    seen: set[int] = set()
    while True:
        try:
            tag, after = _varint(image, at)
            field, wire_type = tag >> 3, tag & 7
            if _WIRE_TYPES.get(field) != wire_type or field in seen:
                return at
            if field in _SINGULAR:
                seen.add(field)
            length, after = _varint(image, after)
        except (IndexError, ValueError):
            return at
        if wire_type == 2:
            if length > _LONGEST_FIELD or after + length > len(image):
                return at
            after += length
        at = after


def _parse(raw: bytes) -> descriptor_pb2.FileDescriptorProto | None:
    """Parses `raw`, giving up trailing bytes that only looked like a field."""
    while len(raw) >= 20:
        try:
            return descriptor_pb2.FileDescriptorProto.FromString(raw)
        except DecodeError:
            raw = raw[:-1]
    return None
