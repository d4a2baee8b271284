"""Random samples of the world, and datasets of their renders."""

import dataclasses
import json

import numpy as np
import pytest

from gs3d.core.cameras import ring
from gs3d.core.schedules import Steps
from gs3d.core.views.words import EXACT_VIEWS, VIEW_WORDS, view_words
from gs3d.world import dataset as dataset_module
from gs3d.world.captions import SYNONYMS, Thing
from gs3d.world.colors import FIXED, NAMED
from gs3d.world.dataset import Dataset, write_shard
from gs3d.world.kinds import KINDS
from gs3d.world.parts import (
    GLOSSY,
    MATTE,
    METAL,
    STRIPES,
    ball,
    bounds,
    box,
    cone,
    fit_unit_sphere,
    table,
    turn,
)
from gs3d.world.render import render
from gs3d.world.sample import SMALL_SCALE, build, sample

COLORS = {**FIXED, "main": NAMED["red"], "accent": NAMED["blue"]}


def test_sample_depends_on_seed_only():
    first, same, other = (sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.caption == same.caption and np.array_equal(first.parts, same.parts)
    assert first.parts.shape != other.parts.shape or not np.array_equal(first.parts, other.parts)


def test_sample_has_requested_kind_and_color():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        drawn = sample(rng, kind, "blue", plain=True)
        assert (drawn.kind, drawn.color, drawn.pattern) == (kind, "blue", None)
        # At least one part has the "main" color, up to the random variation of its shade.
        assert (np.abs(drawn.parts[:, 17:20] - NAMED["blue"]).max(1) < 0.04).any()


@pytest.mark.parametrize("kind", KINDS)
def test_objects_fill_the_unit_sphere(kind):
    # The test unprojects rendered depth, so it does not rely on the bounds that parts report.
    rng = np.random.default_rng(3)
    cameras = ring(4, 48, elevation_deg=25)
    for size in (None, "tall", "wide"):
        thing = Thing(kind, "red", size=size)
        renders = render([table(fit_unit_sphere(build(rng, thing, 1.0)), COLORS)] * 4, cameras)
        points = np.concatenate([world_points(renders, cameras, i) for i in range(4)])
        radius = np.linalg.norm(points, axis=1).max()
        assert 0.85 < radius < 1.01


def world_points(renders, cameras, i):
    """World positions of the fully covered pixels of image i, [n, 3]."""
    rows, columns = np.nonzero(renders.alpha[i] == 1)
    k, m = cameras.intrinsics[i].numpy(), cameras.world_to_camera[i].numpy()
    z = renders.depth[i][rows, columns]
    local = np.stack(
        [(columns + 0.5 - k[0, 2]) / k[0, 0] * z, (rows + 0.5 - k[1, 2]) / k[1, 1] * z, z], 1
    )
    return (local - m[:3, 3]) @ m[:3, :3]


def test_fit_unit_sphere_preserves_proportions():
    rng = np.random.default_rng(0)
    parts = KINDS["car"].build(rng)
    fitted = fit_unit_sphere(parts)
    ratios = [b.size[0] / a.size[0] for a, b in zip(parts, fitted, strict=True)]
    np.testing.assert_allclose(ratios, ratios[0])
    gaps = [np.subtract(p[1].center, p[0].center) for p in (parts, fitted)]
    np.testing.assert_allclose(gaps[0] * ratios[0], gaps[1], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_named_parts_exist_and_take_the_caption_color(kind):
    built = kind.build(np.random.default_rng(0))
    assert {p.name for p in built if p.name} == set(kind.named)
    assert any(p.patterned for p in built) == bool(kind.patterns)
    cameras = ring(4, 64, elevation_deg=20)
    for name in kind.named:
        parts = build(
            np.random.default_rng(0), Thing(kind.name, "red", part=name, part_color="blue"), 1.0
        )
        assert {p.name for p in parts if p.paint == "accent"} == {name}
        renders = render([table(fit_unit_sphere(parts), COLORS)] * 4, cameras)
        # Even the smallest named part must show some pixels with the RGB balance of "blue".
        red, blue = renders.rgb[..., 0], renders.rgb[..., 2]
        is_blue = (blue > 0.4 * renders.alpha) & (red < 0.2) & (renders.alpha == 1)
        assert is_blue.sum() > 4, name


def test_tall_and_wide_change_proportions_and_wheels_stay_round():
    def height_over_width(size):
        thing = Thing("mushroom", "red", size=size)
        low, high = bounds(build(np.random.default_rng(0), thing, 0.0))
        return (high[2] - low[2]) / (high[0] - low[0])

    wide, usual, tall = (height_over_width(size) for size in ("wide", None, "tall"))
    assert wide < 0.75 * usual < 0.56 * tall
    wheel = cone((0, 0, 1), 0.2, 0.2, 0.07, "dark", rotation=turn("x", 90)).stretched(1.5)
    assert wheel.size == (0.2, 0.2, 0.07) and wheel.center == (0, 0, 1.5)
    assert box((0, 0, 1), (1, 2, 3), "main").stretched(1.5).size == (1, 2, 4.5)


def test_small_scales_the_radius():
    rng = np.random.default_rng(0)
    radii = {}
    for _ in range(400):
        drawn = sample(rng, "ball")
        radii.setdefault(drawn.thing.size, set()).add(round(float(drawn.parts[0, 13]), 3))
    assert max(radii["small"]) == pytest.approx(0.97 * SMALL_SCALE, abs=2e-3)
    assert max(radii[None]) == pytest.approx(0.97, abs=2e-3)


def test_placement_of_two_objects():
    rng = np.random.default_rng(4)
    pairs = [drawn for drawn in (sample(rng) for _ in range(400)) if drawn.other]
    assert {pair.relation for pair in pairs} == {"on", "next to"}
    for pair in pairs:
        assert pair.other.kind == "table" or pair.relation == "next to"
        # The number of parts is random for trees only, and a tree is never the first object.
        count = len(KINDS[pair.kind].build(np.random.default_rng(0)))
        first, other = pair.parts[:count], pair.parts[count:]
        if pair.relation == "on":
            assert first[:, 3].min() > other[:, 3].max()
        else:
            assert first[:, 2].mean() > other[:, 2].mean()
        assert np.linalg.norm(pair.parts[:, 1:4], axis=1).max() < 0.97


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS.values() if STRIPES in kind.patterns])
def test_stripes_leave_the_main_color_visible_from_above(kind):
    parts = fit_unit_sphere(build(np.random.default_rng(0), Thing(kind, "red"), 1.0))
    cameras = ring(4, 64, elevation_deg=45)
    striped = render([table(parts, COLORS, STRIPES, NAMED["green"])] * 4, cameras).rgb
    red = (striped[..., 0] > 2 * striped[..., 1]).sum()
    green = (striped[..., 1] > 2 * striped[..., 0]).sum()
    assert red > 0.5 * green > 20


def test_glossy_and_metal_have_highlights_and_matte_does_not():
    def pixels(material):
        parts = table([ball((0, 0, 0), 0.9, "main")], COLORS, material=material)
        rgb = render([parts], ring(1, 64, elevation_deg=20)).rgb[0]
        return rgb[rgb.sum(-1) > 0]

    matte, glossy, metal = (pixels(material) for material in (MATTE, GLOSSY, METAL))
    # On a red ball, only added white light raises the ratio of the blue to the red channel.
    ratio = [(p[:, 2] / p[:, 0]).max() for p in (matte, glossy, metal)]
    assert ratio[0] == pytest.approx(0.11 / 0.86, abs=0.01) and ratio[1] > 0.5 and ratio[2] > 0.3
    assert np.median(glossy, 0) == pytest.approx(np.median(matte, 0), abs=0.02)
    assert metal[:, 0].std() > 1.5 * matte[:, 0].std()


def test_normal_maps_are_blue_towards_the_viewer_green_up_and_red_to_the_right():
    cameras = ring(3, 65, elevation_deg=30)
    renders = render([table([ball((0, 0, 0), 0.9, "main")], COLORS)] * 3, cameras)
    maps = renders.facing(cameras)
    np.testing.assert_allclose(maps[:, 32, 32], [(0.5, 0.5, 1.0)] * 3, atol=0.03)
    for image, alpha in zip(maps, renders.alpha, strict=True):
        rows, columns = np.nonzero(alpha == 1)
        assert image[rows.min() + 1, 32, 1] > 0.85
        assert image[32, columns.max() - 1, 0] > 0.85
        assert image[32, columns.min() + 1, 0] < 0.15
    assert (maps[renders.alpha == 0] == 0).all()


def test_half_of_the_kinds_have_a_front_that_differs_from_the_back():
    assert sum(k.has_front for k in KINDS.values()) >= len(KINDS) / 2
    cameras = ring(2, 64)
    assert view_words(cameras) == ["front", "back"]
    for kind in KINDS.values():
        drawn = sample(np.random.default_rng(1), kind.name, "red", plain=True)
        front, back = render([drawn.parts] * 2, cameras).over(np.ones(3))
        # The back view swaps left and right, so it is mirrored. A symmetric object then looks the
        # same, up to shading.
        changed = (np.abs(front - back[:, ::-1]).max(-1) > 0.2).mean()
        if kind.has_front:
            assert changed > 0.005, kind.name


SMALL_CAMERAS = dataclasses.replace(dataset_module.CAMERAS, resolution_px=Steps((0.0,), (32,)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Folders of one small shard each: the same shard twice, and a different one."""
    patch = pytest.MonkeyPatch()
    patch.setattr(dataset_module, "SHARD", 32)
    folders = [tmp_path_factory.mktemp(name) for name in "abc"]
    for folder, seed, index in zip(folders, (1, 1, 2), (0, 0, 0), strict=True):
        write_shard(folder, seed, index, SMALL_CAMERAS)
    yield folders
    patch.undo()


def test_fraction_of_normal_maps_in_a_shard(shards, tmp_path):
    write_shard(tmp_path, 1, 0, SMALL_CAMERAS, normals=0.5)
    mixed, plain = Dataset.open(tmp_path), Dataset.open(shards[0])
    is_normal_map = np.array([row["normals"] for row in mixed.labels])
    assert 8 < is_normal_map.sum() < 24 and not any(row["normals"] for row in plain.labels)
    a, b = (dataset.rgba(np.arange(32)) for dataset in (mixed, plain))
    changed = np.abs(a - b).max((1, 2, 3)) > 0
    assert (changed == is_normal_map).all()
    assert [row["caption"] for row in mixed.labels] == [row["caption"] for row in plain.labels]


def test_shard_depends_on_seed_and_index_only(shards):
    a, b, c = ((f / "shard_00000.npy").read_bytes() for f in shards)
    assert a == b and a != c
    a, b = ((f / "shard_00000.json").read_text() for f in shards[:2])
    assert a == b


def test_spread_narrows_proportions():
    def variation(kind, spread):
        rngs = [np.random.default_rng(seed) for seed in range(12)]
        samples = [sample(rng, kind, "red", True, spread) for rng in rngs]
        alpha = np.concatenate([render([s.parts], ring(1, 48)).alpha for s in samples])
        return alpha.std(0).mean()

    for kind in ("mug", "chair"):
        full, narrow, none = (variation(kind, spread) for spread in (1.0, 0.3, 0.0))
        assert none == 0 < narrow < 0.6 * full


def test_existing_shard_is_not_overwritten(shards):
    path = shards[0] / "shard_00000.npy"
    before = path.stat().st_mtime_ns
    assert write_shard(shards[0], 1, 0, SMALL_CAMERAS) == path
    assert path.stat().st_mtime_ns == before


def test_dataset_reads_images_and_labels(shards):
    dataset = Dataset.open(shards[0])
    assert len(dataset) == 32
    rgba = dataset.rgba(np.array([3, 0]))
    assert rgba.shape == (2, 32, 32, 4) and rgba.dtype == np.float32
    assert rgba.min() >= 0 and rgba.max() <= 1
    assert (rgba[..., :3] <= rgba[..., 3:] + 1 / 255).all()
    # The object is visible in every image.
    assert (rgba[..., 3].mean((1, 2)) > 0.02).all()
    for row in json.loads((shards[0] / "shard_00000.json").read_text()):
        assert row["kind"] in KINDS and row["color"] in NAMED
        assert row["view"] in VIEW_WORDS and row["exact_view"] in EXACT_VIEWS
        if row["view"] in ("front", "back") and not row["exact_view"].endswith("overhead"):
            direction = row["exact_view"].split()[0]
            # Within 45° of the axis, up to the half step by which exact views are rounded.
            azimuth = (
                int(direction) if direction.isdigit() else {"front": 0, "back": 180}[direction]
            )
            assert azimuth <= 45 if row["view"] == "front" else azimuth >= 135
        if row["color"] not in SYNONYMS:
            assert row["color"] in row["caption"].split()


def test_opening_a_folder_without_shards_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="scripts/render_world.py"):
        Dataset.open(tmp_path)
