"""Objects that were set aside stay so. The test runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import gc, json, weakref
from services.chassis.heap import set_aside

class Key:
    def __init__(self): self.models = []

def looked_at():
    gc.collect()
    return len(gc.get_objects())

loaded = [Key() for _ in range(150_000)]
before = looked_at()
set_aside()
after_start = looked_at()
configured = [Key() for _ in range(300_000)]
looked_at()
after_change = looked_at()
last = weakref.ref(configured[-1])
del configured
print(json.dumps([before, after_start, after_change, last() is None]))
"""
# The interpreter makes a few other objects meanwhile.
FEW = 5_000


def test_full_collections_look_at_few_objects_after_the_start_and_after_a_large_change() -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    before, after_start, after_change, is_last_gone = json.loads(ran.stdout)

    assert before > 300_000
    assert after_start < FEW
    assert after_change < FEW
    assert is_last_gone, "an object that is set aside is freed with its last reference"
