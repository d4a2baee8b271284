"""Processing in blocks covers all rows exactly once, also in the writers of all file formats."""

import numpy as np
import pytest
import torch

from gs3d.core.types import Splats
from gs3d.io import FORMATS, load_splats, readable, save_splats
from gs3d.ops.blocks import BYTES, ROWS, blocks, holds
from gs3d.raster.reference import rotations
from tests.io.splats.test_ply import random_splats


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS])
def test_blocks_cover_all_rows_once(count):
    rows = np.arange(count)
    assert np.array_equal(np.concatenate([rows[part] for part in blocks(count)]), rows)


def test_holds_requires_exactly_the_arrays(tmp_path):
    path, rng = tmp_path / "a", np.random.default_rng(0)
    arrays = [
        rng.random((BYTES // 4, 3)).astype(np.float32),
        np.zeros(5, [("x", "<f4"), ("y", "u1")]),
        np.zeros((0, 4), np.uint8),
    ]
    data = b"head" + b"".join(array.tobytes() for array in arrays)
    path.write_bytes(data)
    assert holds(path, 4, arrays)
    assert not holds(path, 3, arrays)
    assert not holds(path, 4, arrays[::-1])
    for damaged in (
        data[:-1],
        data + b"\0",
        data[:BYTES] + b"\xff" + data[BYTES + 1 :],
        data[:-1] + b"\1",
        b"",
    ):
        path.write_bytes(damaged)
        assert not holds(path, 4, arrays)


def sorted_by_x(splats: Splats) -> Splats:
    order = splats.means[:, 0].argsort()
    return splats[order]


@pytest.mark.parametrize("suffix", sorted(readable()))
def test_every_format_keeps_all_rows(tmp_path, suffix):
    """With more rows than two blocks, but not a multiple of a block.

    Splats lie on a line, so their order is known in spite of rounding.
    """
    count = 2 * ROWS + 300
    splats = random_splats(count, FORMATS[suffix].sh_degree)
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    along = torch.linspace(-20, 20, count)[shuffled]
    splats.means[:] = along[:, None] * torch.tensor([1, 0.5, -0.25])
    save_splats(tmp_path / f"a{suffix}", splats)
    got, expected = sorted_by_x(load_splats(tmp_path / f"a{suffix}")), sorted_by_x(splats)
    assert torch.allclose(got.means, expected.means, atol=0.001)
    assert torch.allclose(got.opacities, expected.opacities, atol=0.003)
    assert torch.allclose(got.scales.log(), expected.scales.log(), atol=0.04)
    assert torch.allclose(rotations(got.quats), rotations(expected.quats), atol=0.05)
    assert (got.sh - expected.sh).abs().mean() < 0.05 < 0.2 < expected.sh.abs().mean()


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_writing_does_not_change_the_splats(tmp_path, suffix):
    splats = random_splats(100, 1)
    before = [part.clone() for part in vars(splats).values()]
    save_splats(tmp_path / f"a{suffix}", splats)
    assert all(map(torch.equal, before, vars(splats).values()))
