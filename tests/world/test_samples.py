import dataclasses
import json

import numpy as np
import pytest

from gs3d.core.cameras import ring
from gs3d.core.schedules import Steps
from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS, view_words
from gs3d.world import dataset as pools
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
from gs3d.world.sample import SMALL as SMALL_RADIUS
from gs3d.world.sample import build, sample

COLORS = {**FIXED, "main": NAMED["red"], "accent": NAMED["blue"]}


def test_a_sample_is_a_function_of_the_seed():
    one, two, other = (sample(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one.caption == two.caption and np.array_equal(one.parts, two.parts)
    assert one.parts.shape != other.parts.shape or not np.array_equal(one.parts, other.parts)


def test_what_is_asked_for_is_what_is_made():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        made = sample(rng, kind, "blue", plain=True)
        assert (made.kind, made.color, made.pattern) == (kind, "blue", None)
        # "main" was painted: some part is blue, to within what still deserves the word
        assert (np.abs(made.parts[:, 17:20] - NAMED["blue"]).max(1) < 0.04).any()


@pytest.mark.parametrize("kind", KINDS)
def test_objects_stay_inside_the_unit_sphere_and_fill_it(kind):
    # Points that are hit, put back into the world through depth, not the parts' own idea of their size.
    rng = np.random.default_rng(3)
    cameras = ring(4, 48, elevation_deg=25)
    for size in (None, "tall", "wide"):
        thing = Thing(kind, "red", size=size)
        seen = render([table(fit_unit_sphere(build(rng, thing, 1.0)), COLORS)] * 4, cameras)
        points = np.concatenate([world_points(seen, cameras, i) for i in range(4)])
        radius = np.linalg.norm(points, axis=1).max()
        assert 0.85 < radius < 1.01


def world_points(seen, cameras, i):
    """Where the solid pixels of picture i lie in the world, [n, 3]."""
    rows, columns = np.nonzero(seen.alpha[i] == 1)
    k, m = cameras.intrinsics[i].numpy(), cameras.world_to_camera[i].numpy()
    z = seen.depth[i][rows, columns]
    local = np.stack(
        [(columns + 0.5 - k[0, 2]) / k[0, 0] * z, (rows + 0.5 - k[1, 2]) / k[1, 1] * z, z], 1
    )
    return (local - m[:3, 3]) @ m[:3, :3]


def test_fitting_does_not_change_the_shape():
    rng = np.random.default_rng(0)
    parts = KINDS["car"].build(rng)
    fitted = fit_unit_sphere(parts)
    ratios = [b.size[0] / a.size[0] for a, b in zip(parts, fitted, strict=True)]
    np.testing.assert_allclose(ratios, ratios[0])
    gaps = [np.subtract(p[1].center, p[0].center) for p in (parts, fitted)]
    np.testing.assert_allclose(gaps[0] * ratios[0], gaps[1], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_named_part_is_there_and_takes_the_color_of_the_caption(kind):
    built = kind.build(np.random.default_rng(0))
    assert {p.name for p in built if p.name} == set(kind.named)
    assert any(p.patterned for p in built) == bool(kind.patterns)
    cameras = ring(4, 64, elevation_deg=20)
    for name in kind.named:
        parts = build(
            np.random.default_rng(0), Thing(kind.name, "red", part=name, part_color="blue"), 1.0
        )
        assert {p.name for p in parts if p.paint == "accent"} == {name}
        seen = render([table(fit_unit_sphere(parts), COLORS)] * 4, cameras)
        # However small it is, some pixels are blue: as dark in red and as full of blue as the word.
        blue = (seen.rgb[..., 2] > 0.4 * seen.alpha) & (seen.rgb[..., 0] < 0.2) & (seen.alpha == 1)
        assert blue.sum() > 4, name


def test_tall_and_wide_things_are_so_and_wheels_stay_round():
    def height_over_width(size):
        low, high = bounds(
            build(np.random.default_rng(0), Thing("mushroom", "red", size=size), 0.0)
        )
        return (high[2] - low[2]) / (high[0] - low[0])

    assert (
        height_over_width("wide")
        < 0.75 * height_over_width(None)
        < 0.56 * height_over_width("tall")
    )
    wheel = cone((0, 0, 1), 0.2, 0.2, 0.07, "dark", rotation=turn("x", 90)).stretched(1.5)
    assert wheel.size == (0.2, 0.2, 0.07) and wheel.center == (0, 0, 1.5)
    assert box((0, 0, 1), (1, 2, 3), "main").stretched(1.5).size == (1, 2, 4.5)


def test_small_things_are_small_in_the_picture():
    rng = np.random.default_rng(0)
    radii = {}
    for _ in range(400):
        made = sample(rng, "ball")
        radii.setdefault(made.thing.size, set()).add(round(float(made.parts[0, 13]), 3))
    assert max(radii["small"]) == pytest.approx(0.97 * SMALL_RADIUS, abs=2e-3) and max(
        radii[None]
    ) == pytest.approx(0.97, abs=2e-3)


def test_of_two_things_one_stands_on_the_other_or_at_its_left():
    rng = np.random.default_rng(4)
    pairs = [made for made in (sample(rng) for _ in range(400)) if made.other]
    assert {made.relation for made in pairs} == {"on", "next to"}
    for made in pairs:
        assert made.other.kind == "table" or made.relation == "next to"
        count = len(
            KINDS[made.kind].build(np.random.default_rng(0))
        )  # only trees vary, and they are too big to be put on things
        first, other = made.parts[:count], made.parts[count:]
        if made.relation == "on":
            assert first[:, 3].min() > other[:, 3].max()
        else:
            assert first[:, 2].mean() > other[:, 2].mean()
        assert np.linalg.norm(made.parts[:, 1:4], axis=1).max() < 0.97


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS.values() if STRIPES in kind.patterns])
def test_a_striped_thing_keeps_its_own_color_from_above(kind):
    parts = fit_unit_sphere(build(np.random.default_rng(0), Thing(kind, "red"), 1.0))
    cameras = ring(4, 64, elevation_deg=45)
    striped = render([table(parts, COLORS, STRIPES, NAMED["green"])] * 4, cameras).rgb
    red, green = (
        (striped[..., 0] > 2 * striped[..., 1]).sum(),
        (striped[..., 1] > 2 * striped[..., 0]).sum(),
    )
    assert red > 0.5 * green > 20


def test_materials_shine_and_matte_does_not():
    def pixels(material):
        rgb = render(
            [table([ball((0, 0, 0), 0.9, "main")], COLORS, material=material)],
            ring(1, 64, elevation_deg=20),
        ).rgb[0]
        return rgb[rgb.sum(-1) > 0]

    matte, glossy, metal = (pixels(material) for material in (MATTE, GLOSSY, METAL))
    # A red ball's blue and green channels rise above the red's share only where white light is added.
    share = [(p[:, 2] / p[:, 0]).max() for p in (matte, glossy, metal)]
    assert share[0] == pytest.approx(0.11 / 0.86, abs=0.01) and share[1] > 0.5 and share[2] > 0.3
    assert np.median(glossy, 0) == pytest.approx(np.median(matte, 0), abs=0.02)
    assert metal[:, 0].std() > 1.5 * matte[:, 0].std()


def test_normal_maps_are_blue_towards_the_viewer_green_above_and_red_at_the_right():
    cameras = ring(3, 65, elevation_deg=30)
    seen = render([table([ball((0, 0, 0), 0.9, "main")], COLORS)] * 3, cameras)
    maps = seen.facing(cameras)
    np.testing.assert_allclose(maps[:, 32, 32], [(0.5, 0.5, 1.0)] * 3, atol=0.03)
    for image, alpha in zip(maps, seen.alpha, strict=True):
        rows, columns = np.nonzero(alpha == 1)
        assert (
            image[rows.min() + 1, 32, 1] > 0.85
            and image[32, columns.max() - 1, 0] > 0.85
            and image[32, columns.min() + 1, 0] < 0.15
        )
    assert (maps[seen.alpha == 0] == 0).all()


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


def test_a_share_of_a_shard_is_normal_maps(shards, tmp_path):
    write_shard(tmp_path, 1, 0, SMALL, normals=0.5)
    dataset, same = Dataset.open(tmp_path), Dataset.open(shards[0])
    mapped = np.array([row["normals"] for row in dataset.labels])
    assert 8 < mapped.sum() < 24 and not any(row["normals"] for row in same.labels)
    a, b = (p.rgba(np.arange(32)) for p in (dataset, same))
    changed = np.abs(a - b).max((1, 2, 3)) > 0
    assert (changed == mapped).all()
    assert [row["caption"] for row in dataset.labels] == [row["caption"] for row in same.labels]


def test_a_shard_is_a_function_of_seed_and_index(shards):
    a, b, c = ((f / "shard_00000.npy").read_bytes() for f in shards)
    assert a == b and a != c
    assert (shards[0] / "shard_00000.json").read_text() == (
        shards[1] / "shard_00000.json"
    ).read_text()


def test_proportions_can_be_narrowed():
    def variety(kind, spread):
        made = [
            sample(np.random.default_rng(seed), kind, "red", True, spread).parts
            for seed in range(12)
        ]
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
    dataset = Dataset.open(shards[0])
    assert len(dataset) == 32
    rgba = dataset.rgba(np.array([3, 0]))
    assert (
        rgba.shape == (2, 32, 32, 4)
        and rgba.dtype == np.float32
        and rgba.min() >= 0
        and rgba.max() <= 1
    )
    assert (rgba[..., :3] <= rgba[..., 3:] + 1 / 255).all()
    assert (rgba[..., 3].mean((1, 2)) > 0.02).all()  # the object is in the picture
    for row in json.loads((shards[0] / "shard_00000.json").read_text()):
        assert (
            row["kind"] in KINDS
            and row["color"] in NAMED
            and row["view"] in VIEW_WORDS
            and row["exact_view"] in EXACT_VIEWS
        )
        if row["view"] in ("front", "back") and not row["exact_view"].endswith("overhead"):
            direction = row["exact_view"].split()
            # Within 45° of the axis, give or take the half step that names are rounded by.
            off = (
                int(direction[0])
                if direction[0].isdigit()
                else {"front": 0, "back": 180}[direction[0]]
            )
            assert off <= 45 if row["view"] == "front" else off >= 135
        if row["color"] not in SYNONYMS:
            assert row["color"] in row["caption"].split()


def test_a_folder_without_shards_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="scripts/render_world.py"):
        Dataset.open(tmp_path)
