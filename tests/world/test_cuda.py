"""The tracer on a CUDA device renders the same images as on the CPU.

Without a CUDA device, numba's simulator runs the kernel's threads one by one.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.world.render import has_card, render
from gs3d.world.sample import sample


def scene(size, count=6):
    rng = np.random.default_rng(4)
    return [sample(rng).parts for _ in range(count)], ring(count, size)


@pytest.mark.gpu
@pytest.mark.skipif(not has_card(), reason="needs a CUDA device, and numba-cuda")
def test_cuda_render_equals_cpu_render():
    tables, cameras = scene(64)
    cpu, gpu = render(tables, cameras), render(tables, cameras, device="cuda")
    for name in ("rgb", "alpha", "depth", "normal"):
        differs = np.abs(getattr(cpu, name) - getattr(gpu, name)) > 1e-3
        # Rounding can decide whether a ray barely hits, or on which side of a pattern's border it
        # ends.
        assert differs.mean() < 5e-3, name


@pytest.mark.skipif(has_card(), reason="there is a CUDA device")
def test_missing_cuda_device_is_reported():
    with pytest.raises(UserError, match="no CUDA device"):
        render(*scene(8), device="cuda")


SIMULATED_RUN = """
import numpy as np
from tests.world.test_cuda import scene
from gs3d.world.render import has_card, render
tables, cameras = scene(10, 2)
cpu, gpu = render(tables, cameras), render(tables, cameras, device="cuda")
assert cpu.alpha.mean() > 0.1
for name in ("rgb", "alpha", "depth", "normal"):
    np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), atol=1e-6)
"""


def test_simulated_cuda_render_equals_cpu_render():
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", SIMULATED_RUN],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
