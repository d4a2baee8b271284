import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from gs3d.core.runtime.memory import keep_freed_blocks
accepted = {before}
def page_faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(53):
    if i == 3:
        start = page_faults()
    block = np.full(40 << 20, 1, np.uint8)
    del block
print(accepted, page_faults() - start)
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
    not sys.platform.startswith("linux"), reason="counts page faults of glibc's allocator"
)
def test_keep_freed_blocks_reuses_large_blocks():
    accepted, faults_with = run("keep_freed_blocks()")
    if accepted == "False":
        pytest.skip("this C library has no mallopt")
    _, faults_without = run("None")
    assert faults_with < 100 < faults_without
