import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from gs3d.core.runtime.memory import keep_freed_blocks
told = {before}
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(53):
    if i == 3:
        start = faults()
    block = np.full(40 << 20, 1, np.uint8)
    del block
print(told, faults() - start)
"""


def run(before: str) -> tuple[str, int]:
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return out[0], int(out[1])


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="asks for the page faults of glibc's allocator"
)
def test_big_blocks_are_reused():
    told, kept = run("keep_freed_blocks()")
    if told == "False":
        pytest.skip("this C library has no mallopt")
    _, mapped = run("None")
    assert kept < 100 < mapped
