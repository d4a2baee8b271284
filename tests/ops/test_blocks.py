"""What is done some thousand rows at a time is done to all of them, and to nothing else."""

import numpy as np
import pytest
import torch

from gs3d.core.types import Splats
from gs3d.io import READERS, WRITERS, load_splats, save_splats
from gs3d.ops.blocks import BYTES, ROWS, blocks, holds
from gs3d.raster.reference import rotations
from tests.io.splats.test_ply import random_splats


@pytest.mark.parametrize("count", [1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS])
def test_blocks_are_all_rows_once(count):
    rows = np.arange(count)
    assert np.array_equal(np.concatenate([rows[part] for part in blocks(count)]), rows)


def test_a_file_holds_its_arrays_and_no_more_or_less(tmp_path):
    path, rng = tmp_path / "a", np.random.default_rng(0)
    arrays = [
        rng.random((BYTES // 4, 3)).astype(np.float32),
        np.zeros(5, [("x", "<f4"), ("y", "u1")]),
        np.zeros((0, 4), np.uint8),
    ]
    data = b"head" + b"".join(array.tobytes() for array in arrays)
    path.write_bytes(data)
    assert (
        holds(path, 4, arrays) and not holds(path, 3, arrays) and not holds(path, 4, arrays[::-1])
    )
    for hurt in (
        data[:-1],
        data + b"\0",
        data[:BYTES] + b"\xff" + data[BYTES + 1 :],
        data[:-1] + b"\1",
        b"",
    ):
        path.write_bytes(hurt)
        assert not holds(path, 4, arrays)


def by_place(splats: Splats) -> Splats:
    order = splats.means[:, 0].argsort()
    return splats[order]


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_every_format_keeps_all_rows(tmp_path, suffix):
    """More than a block, and no multiple of one. Along a line, so that places are told apart in spite of what a format rounds."""
    count = 2 * ROWS + 300
    splats = random_splats(count, 0 if suffix == ".splat" else 3)
    along = torch.linspace(-20, 20, count)[
        torch.randperm(count, generator=torch.Generator().manual_seed(1))
    ]
    splats.means[:] = along[:, None] * torch.tensor([1, 0.5, -0.25])
    save_splats(tmp_path / f"a{suffix}", splats)
    got, wanted = by_place(load_splats(tmp_path / f"a{suffix}")), by_place(splats)
    assert torch.allclose(got.means, wanted.means, atol=0.001) and torch.allclose(
        got.opacities, wanted.opacities, atol=0.003
    )
    assert torch.allclose(got.scales.log(), wanted.scales.log(), atol=0.04)
    assert torch.allclose(rotations(got.quats), rotations(wanted.quats), atol=0.05)
    assert (got.sh - wanted.sh).abs().mean() < 0.05 < 0.2 < wanted.sh.abs().mean()


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_writing_changes_nothing_in_memory(tmp_path, suffix):
    splats = random_splats(100, 1)
    before = [part.clone() for part in vars(splats).values()]
    save_splats(tmp_path / f"a{suffix}", splats)
    assert all(map(torch.equal, before, vars(splats).values()))
