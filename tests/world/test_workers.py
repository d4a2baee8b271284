"""Shards written by several processes. These are spawned, so patches would not reach them."""

import dataclasses

import pytest

from gs3d.core.schedules import Steps
from gs3d.world.dataset import CAMERAS, write_shard, write_shards

TINY = dataclasses.replace(CAMERAS, resolution_px=Steps((0.0,), (8,)))


@pytest.mark.thorough
def test_two_workers_write_the_same_shards_as_one(tmp_path):
    write_shard(tmp_path / "one", 1, 1, TINY)
    assert list(write_shards(tmp_path / "two", 1, 2, workers=2, config=TINY)) == [1, 2]
    for name in ("shard_00001.npy", "shard_00001.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert list(write_shards(tmp_path / "two", 1, 2, workers=2, config=TINY)) == []
