import dataclasses
import json

import numpy as np
import pytest

from gs3d.core.cameras import ring
from gs3d.core.schedules import Steps
from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS, view_words
from gs3d.world import pool as pools
from gs3d.world.colours import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.parts import fit_unit_sphere
from gs3d.world.pool import Pool, write_shard
from gs3d.world.render import render
from gs3d.world.sample import sample


def test_a_sample_is_a_function_of_the_seed():
    one, two, other = (sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.caption == two.caption and np.array_equal(one.parts, two.parts)
    assert one.parts.shape != other.parts.shape or not np.array_equal(one.parts, other.parts)


def test_what_is_asked_for_is_what_is_made():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        made = sample(rng, kind, "blue", plain=True)
        assert (made.kind, made.colour, made.pattern) == (kind, "blue", None)
        # "main" was painted: some part is blue, to within what still deserves the word
        assert (np.abs(made.parts[:, 17:20] - NAMED["blue"]).max(1) < 0.04).any()


@pytest.mark.parametrize("kind", KINDS)
def test_objects_stay_inside_the_unit_sphere_and_fill_it(kind):
    # Points that are hit, put back into the world through depth, not the parts' own idea of their size.
    rng = np.random.default_rng(3)
    cameras = ring(4, 48, elevation_deg=25)
    for _ in range(2):
        seen = render([sample(rng, kind).parts] * 4, cameras)
        points = np.concatenate([world_points(seen, cameras, i) for i in range(4)])
        radius = np.linalg.norm(points, axis=1).max()
        assert 0.85 < radius < 1.01


def world_points(seen, cameras, i):
    """Where the solid pixels of picture i lie in the world, [n, 3]."""
    rows, columns = np.nonzero(seen.alpha[i] == 1)
    k, m = cameras.intrinsics[i].numpy(), cameras.world_to_camera[i].numpy()
    z = seen.depth[i][rows, columns]
    local = np.stack([(columns + 0.5 - k[0, 2]) / k[0, 0] * z, (rows + 0.5 - k[1, 2]) / k[1, 1] * z, z], 1)
    return (local - m[:3, 3]) @ m[:3, :3]


def test_fitting_does_not_change_the_shape():
    rng = np.random.default_rng(0)
    parts = KINDS["car"].build(rng)
    fitted = fit_unit_sphere(parts)
    ratios = [b.size[0] / a.size[0] for a, b in zip(parts, fitted, strict=True)]
    np.testing.assert_allclose(ratios, ratios[0])
    gaps = [np.subtract(p[1].centre, p[0].centre) for p in (parts, fitted)]
    np.testing.assert_allclose(gaps[0] * ratios[0], gaps[1], atol=1e-9)


def test_half_of_the_kinds_have_a_front_and_only_these_look_other_from_behind():
    assert sum(k.has_front for k in KINDS.values()) >= len(KINDS) / 2
    cameras = ring(2, 64)
    assert view_words(cameras) == ["front", "back"]
    for kind in KINDS.values():
        made = sample(np.random.default_rng(1), kind.name, "red", plain=True)
        front, back = render([made.parts] * 2, cameras).over(np.ones(3))
        # From behind left and right change places, so a symmetric object looks the same after a flip; light has no front either way.
        changed = (np.abs(front - back[:, ::-1]).max(-1) > 0.2).mean()
        if kind.has_front:
            assert changed > 0.005, kind.name


SMALL = dataclasses.replace(pools.CAMERAS, resolution_px=Steps((0.0,), (32,)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The same tiny shard twice, and another one."""
    patch = pytest.MonkeyPatch()
    patch.setattr(pools, "SHARD", 32)
    folders = [tmp_path_factory.mktemp(name) for name in "abc"]
    for folder, seed, index in zip(folders, (1, 1, 2), (0, 0, 0), strict=True):
        write_shard(folder, seed, index, SMALL)
    yield folders
    patch.undo()


def test_a_shard_is_a_function_of_seed_and_index(shards):
    a, b, c = ((f / "shard_00000.npy").read_bytes() for f in shards)
    assert a == b and a != c
    assert (shards[0] / "shard_00000.json").read_text() == (shards[1] / "shard_00000.json").read_text()


def test_proportions_can_be_narrowed():
    def variety(kind, spread):
        made = [sample(np.random.default_rng(seed), kind, "red", True, spread).parts for seed in range(12)]
        outlines = np.concatenate([render([parts], ring(1, 48)).alpha for parts in made])
        return outlines.std(0).mean()

    for kind in ("mug", "chair"):
        wide, narrow, one = (variety(kind, spread) for spread in (1.0, 0.3, 0.0))
        assert one == 0 < narrow < 0.6 * wide


def test_a_shard_that_is_there_is_left_alone(shards):
    path = shards[0] / "shard_00000.npy"
    before = path.stat().st_mtime_ns
    assert write_shard(shards[0], 1, 0, SMALL) == path and path.stat().st_mtime_ns == before


def test_a_pool_reads_pictures_and_labels_back(shards):
    pool = Pool.open(shards[0])
    assert len(pool) == 32
    rgba = pool.rgba(np.array([3, 0]))
    assert rgba.shape == (2, 32, 32, 4) and rgba.dtype == np.float32 and rgba.min() >= 0 and rgba.max() <= 1
    assert (rgba[..., :3] <= rgba[..., 3:] + 1 / 255).all()
    assert (rgba[..., 3].mean((1, 2)) > 0.02).all()  # the object is in the picture
    for row in json.loads((shards[0] / "shard_00000.json").read_text()):
        assert row["kind"] in KINDS and row["colour"] in NAMED and row["view"] in VIEW_WORDS and row["exact_view"] in EXACT_VIEWS
        if row["view"] in ("front", "back") and not row["exact_view"].endswith("overhead"):
            direction = row["exact_view"].split()
            # Within 45° of the axis, give or take the half step that names are rounded by.
            off = int(direction[0]) if direction[0].isdigit() else {"front": 0, "back": 180}[direction[0]]
            assert off <= 45 if row["view"] == "front" else off >= 135
        assert row["caption"].split()[1] == row["colour"]


def test_a_folder_without_shards_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="scripts/render_world.py"):
        Pool.open(tmp_path)
