"""The tracer on a card: the same pictures as on the CPU. Where there is no card, numba's simulator runs the kernel's threads one by one."""

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
def test_a_card_draws_what_the_cpu_draws():
    tables, cameras = scene(64)
    one, other = render(tables, cameras), render(tables, cameras, device="cuda")
    for name in ("rgb", "alpha", "depth", "normal"):
        differs = np.abs(getattr(one, name) - getattr(other, name)) > 1e-3
        # A ray that only just hits, or a point on the border of a pattern, may fall to the other side.
        assert differs.mean() < 5e-3, name


@pytest.mark.skipif(has_card(), reason="there is a card")
def test_without_a_card_it_says_so():
    with pytest.raises(UserError, match="no card"):
        render(*scene(8), device="cuda")


SIMULATED = """
import numpy as np
from tests.world.test_cuda import scene
from gs3d.world.render import has_card, render
tables, cameras = scene(10, 2)
one, other = render(tables, cameras), render(tables, cameras, device="cuda")
assert one.alpha.mean() > 0.1
for name in ("rgb", "alpha", "depth", "normal"):
    np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-6)
"""


def test_the_kernel_gives_every_pixel_to_one_thread():
    simulator = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED],
        env=simulator,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
