from __future__ import annotations

import pytest
from google.protobuf import struct_pb2

from services.chassis.protobuf_wire import length_delimited, varint
from services.quota.transport.struct_wire import string_place


@pytest.mark.parametrize("text", ["", "a", "x" * 127, "x" * 128, "ü" * 20_000])
def test_a_string_entry_is_what_protobuf_reads_as_that_string(text: str) -> None:
    read = struct_pb2.Struct.FromString(string_place("key")(text))
    assert dict(read) == {"key": text}


def test_entries_appended_to_a_serialised_struct_join_its_own() -> None:
    constant = struct_pb2.Struct()
    constant.update({"team": "research", "targets": [{"name": "lab/tiny"}]})
    joined = constant.SerializeToString() + string_place("reservation")("r1")
    assert dict(struct_pb2.Struct.FromString(joined)) == {**dict(constant), "reservation": "r1"}


def test_a_message_field_that_occurs_twice_is_merged() -> None:
    outer = length_delimited(5, string_place("a")("1")) + length_delimited(5, string_place("b")("2"))
    assert dict(struct_pb2.Value.FromString(outer).struct_value) == {"a": "1", "b": "2"}


def test_numbers_take_seven_bits_to_the_byte() -> None:
    assert varint(0) == b"\x00"
    assert varint(127) == b"\x7f"
    assert varint(300) == b"\xac\x02"
