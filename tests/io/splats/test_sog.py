""".sog: what is kept, files of other programs, and damaged ones."""

import io
import json
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.io import load_asset, load_splats, save_splats
from gs3d.io.sog import codebook
from gs3d.io.sog.codebook import codebook_of, indices_in, palette_of
from gs3d.io.splats.sog import read_sog, write_sog
from gs3d.raster.reference import rotations
from tests.io.splats.samples import (
    assert_not_written,
    assert_refused,
    change_bytes,
    random_splats,
    read_ignoring_damage,
)


def contents(path) -> tuple[dict, dict[str, np.ndarray]]:
    """meta.json, and the images."""
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("meta.json"))
        images = {
            name: np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGBA"))
            for name in archive.namelist()
            if name.endswith(".webp")
        }
    return meta, images


def pack(path, meta, images, folder=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(folder + "meta.json", meta if isinstance(meta, str) else json.dumps(meta))
        for name, pixels in images.items():
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            archive.writestr(folder + name, stream.getvalue())


def matched(written, read):
    """`read` in the order of `written`, by the nearest position."""
    nearest = torch.cdist(written.means.double(), read.means.double()).argmin(1)
    assert len(set(nearest.tolist())) == len(written)
    return read[nearest]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(300, degree)
    save_splats(tmp_path / "a.sog", splats)
    back = matched(splats, load_splats(tmp_path / "a.sog"))
    assert torch.allclose(back.means, splats.means, atol=1e-3)
    assert torch.allclose(back.scales, splats.scales, rtol=0.03)
    assert torch.allclose(back.opacities, splats.opacities, atol=0.0021)
    assert torch.allclose(back.sh, splats.sh, atol=0.05)
    angle = (back.quats * splats.quats / splats.quats.norm(dim=1, keepdim=True)).sum(1).abs()
    assert angle.min() > 0.9999


def test_layout_follows_the_specification(tmp_path):
    """The formulas of the specification, on the pixels of a file."""
    splats = random_splats(50, 2)
    write_sog(tmp_path / "a.sog", splats)
    meta, images = contents(tmp_path / "a.sog")
    assert meta["version"] == 2 and meta["count"] == 50

    def pixel(part, file=0):
        return images[meta[part]["files"][file]].reshape(-1, 4)[:50].astype(np.int64)

    steps = (pixel("means", 1)[:, :3] << 8) | pixel("means")[:, :3]
    low, high = (np.array(meta["means"][k]) for k in ("mins", "maxs"))
    logs = low + (high - low) * steps / 65535
    means = np.sign(logs) * (np.exp(np.abs(logs)) - 1)
    back = read_sog(tmp_path / "a.sog")
    # World: x = file z, y = −file x, z = −file y.
    assert np.allclose(back.means, means[:, [2, 0, 1]] * [1, -1, -1], atol=1e-5)
    scales = np.exp(np.array(meta["scales"]["codebook"])[pixel("scales")[:, :3]])
    assert np.allclose(back.scales, scales, rtol=1e-5)
    colors = np.array(meta["sh0"]["codebook"])[pixel("sh0")[:, :3]]
    assert np.allclose(back.sh[:, 0], colors, atol=1e-6)
    assert np.allclose(back.opacities, pixel("sh0")[:, 3] / 255, atol=1e-6)
    rgb, tag = pixel("quats")[:, :3], pixel("quats")[:, 3]
    assert set(tag) <= {252, 253, 254, 255}
    quats = np.zeros((50, 4))
    for i in range(50):
        others = (rgb[i] / 255 - 0.5) * 2 / np.sqrt(2)
        largest = np.sqrt(max(0, 1 - (others**2).sum()))
        quats[i] = np.insert(others, tag[i] - 252, largest)
    in_file = rotations(torch.from_numpy(quats))
    to_world = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    assert torch.allclose(to_world @ in_file, rotations(back.quats.double()), atol=1e-5)
    palette = images[meta["shN"]["files"][0]]
    assert palette.shape[1] == 64 * 8 and meta["shN"]["bands"] == 2


def test_files_of_version_1_are_read(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20))
    meta, images = contents(tmp_path / "a.sog")
    old = {"means": meta["means"] | {"shape": [20, 3]}, "quats": meta["quats"]}
    old["scales"] = {"mins": [-5, -4, -3], "maxs": [-1, -1, -1], "files": ["scales.webp"]}
    old["sh0"] = {"mins": [-1, -1, -1, -4], "maxs": [1, 1, 1, 6], "files": ["sh0.webp"]}
    pack(tmp_path / "b.sog", old, images)
    back = read_sog(tmp_path / "b.sog")
    pixels = images["sh0.webp"].reshape(-1, 4)[:20] / 255
    assert np.allclose(back.opacities, 1 / (1 + np.exp(4 - 10 * pixels[:, 3])), atol=1e-6)
    assert np.allclose(back.sh[:, 0], 2 * pixels[:, :3] - 1, atol=1e-6)
    steps = images["scales.webp"].reshape(-1, 4)[:20, :3] / 255
    assert np.allclose(back.scales, np.exp([-5, -4, -3] + np.array([4, 3, 2]) * steps), rtol=1e-5)


def test_an_archive_of_the_folder_itself_is_read(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20))
    pack(tmp_path / "b.sog", *contents(tmp_path / "a.sog"), folder="scene/")
    assert torch.equal(read_sog(tmp_path / "b.sog").means, read_sog(tmp_path / "a.sog").means)


def change(name, value):
    def apply(meta):
        part, _, key = name.partition(".")
        if key:
            meta[part][key] = value
        else:
            meta[part] = value

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("version", 3), "expected a .sog of version 1 or 2, got 3"),
        (change("count", 0), "expected at least one splat, got 0"),
        (change("count", 10**9), "more than .* bytes can hold"),
        (change("count", 1000), "has .* pixels for 1000 splats"),
        (change("means.mins", [0, 0]), "expected 3 numbers"),
        (change("scales.codebook", [1.0]), "expected 256 numbers"),
        (change("scales.codebook", ["1"] * 256), 'expected 256 numbers, one is "1"'),
        (change("scales.codebook", [1.0, None] * 128), "expected 256 numbers, one is null"),
        (change("scales.codebook", [True] * 256), "expected 256 numbers, one is true"),
        (change("version", 1.0), "expected a .sog of version 1 or 2, got 1.0"),
        (change("version", True), "expected a .sog of version 1 or 2, got true"),
        (change("version", 1), "does not describe a .sog .it lacks 'shape'"),
        (change("means.files", ["nowhere.webp"] * 2), "nowhere.webp is not in it"),
        (change("quats", None), "does not describe a .sog"),
        (change("shN.count", "x"), "does not describe a .sog"),
    ],
)
def test_damaged_descriptions_are_refused(tmp_path, edit, message):
    write_sog(tmp_path / "a.sog", random_splats(20, 1))
    meta, images = contents(tmp_path / "a.sog")
    edit(meta)
    pack(tmp_path / "a.sog", meta, images)
    assert_refused(tmp_path / "a.sog", message, read_sog)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.sog"
    path.write_bytes(b"not a zip")
    assert_refused(path, "expected a zip archive", read_sog)
    pack(path, "{", {})
    assert_refused(path, "its meta.json cannot be read", read_sog)
    pack(path, "[]", {})
    assert_refused(path, "expected a JSON object", read_sog)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "")
    assert_refused(path, "meta.json is not in it", read_sog)


def test_rotations_without_a_mode_are_left_out(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20))
    meta, images = contents(tmp_path / "a.sog")
    images["quats.webp"] = images["quats.webp"].copy()
    images["quats.webp"].reshape(-1, 4)[3, 3] = 17
    pack(tmp_path / "b.sog", meta, images)
    with pytest.warns(UserWarning, match="1 of 20 rows"):
        assert len(read_sog(tmp_path / "b.sog")) == 19


def test_invalid_splats_are_not_written(tmp_path):
    splats = replace(random_splats(9), means=torch.full((9, 3), float("nan")))
    assert_not_written(tmp_path / "a.sog", "9 of 9 splats hold NaN", lambda p: write_sog(p, splats))


def test_equal_splats_give_equal_files(tmp_path):
    for name in ("a.sog", "b.sog"):
        write_sog(tmp_path / name, random_splats(40, 1))
    assert (tmp_path / "a.sog").read_bytes() == (tmp_path / "b.sog").read_bytes()


def test_codebooks_are_near_all_values():
    gen = np.random.default_rng(0)
    values = np.concatenate([gen.normal(size=5000), [9.0, -7.0]]).astype(np.float32)
    book = codebook_of(values)
    assert len(book) == 256 and (np.diff(book) >= 0).all()
    error = np.abs(book[indices_in(book, values)] - values)
    assert error.max() < 0.1 and error.mean() < 0.01
    few = np.array([3.0, 1.0, 1.0, 2.5], np.float32)
    assert np.array_equal(codebook_of(few)[indices_in(codebook_of(few), few)], few)


def test_many_vectors_are_clustered(monkeypatch):
    monkeypatch.setattr(codebook, "PALETTE", 50)
    monkeypatch.setattr(codebook, "CLUSTERS", 40)
    gen = np.random.default_rng(0)
    centers = gen.normal(size=(8, 9))
    vectors = (centers[gen.integers(8, size=400)] + 0.01 * gen.normal(size=(400, 9))).astype("f4")
    palette, labels = palette_of(vectors)
    assert len(palette) == 40 and np.abs(palette[labels] - vectors).max() < 0.1


@pytest.mark.parametrize("part", ["scales", "sh0", "shN"])
def test_a_codebook_without_its_first_entry_is_continued(tmp_path, part):
    write_sog(tmp_path / "a.sog", random_splats(400, 1))
    meta, images = contents(tmp_path / "a.sog")
    book = meta[part]["codebook"]
    continued = book[1] + (book[1] - book[255]) / 255
    for name, first in (("b.sog", None), ("c.sog", continued)):
        pack(tmp_path / name, meta | {part: meta[part] | {"codebook": [first, *book[1:]]}}, images)
    back, expected = read_sog(tmp_path / "b.sog"), read_sog(tmp_path / "c.sog")
    assert len(back) == 400
    assert torch.equal(back.scales, expected.scales) and torch.equal(back.sh, expected.sh)


def test_changed_bytes_never_give_a_traceback(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(40, 3))
    data = np.frombuffer((tmp_path / "a.sog").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    directory = data.tobytes().rindex(b"PK\x01\x02")
    for low in (0, directory):
        for _ in range(150):
            part = change_bytes(data[low:], rng)
            (tmp_path / "b.sog").write_bytes(data[:low].tobytes() + part)
            read_ignoring_damage(tmp_path / "b.sog", read_sog)


def test_an_offset_before_the_file_is_one_line(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(40))
    data = bytearray((tmp_path / "a.sog").read_bytes())
    # The end record says where the directory begins. zipfile adds what is missing before it to all
    # offsets, which become negative.
    at = data.rindex(b"PK\x05\x06") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 20).to_bytes(4, "little")
    (tmp_path / "a.sog").write_bytes(data)
    assert_refused(tmp_path / "a.sog", "cannot be unpacked|expected a zip archive", read_sog)


def test_images_are_webp_or_png(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20))
    meta, images = contents(tmp_path / "a.sog")
    stream = io.BytesIO()
    Image.fromarray(images.pop("quats.webp")).save(stream, "TIFF")
    pack(tmp_path / "a.sog", meta, images)
    with zipfile.ZipFile(tmp_path / "a.sog", "a") as archive:
        archive.writestr("quats.webp", stream.getvalue())
    assert_refused(tmp_path / "a.sog", "quats.webp cannot be read", read_sog)


def test_a_small_file_does_not_describe_millions_of_splats(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20, 3))
    meta, images = contents(tmp_path / "a.sog")
    for count, refused in ((1_130_000, "pixels for"), (1_140_000, "more than .* bytes can hold")):
        pack(tmp_path / "b.sog", meta | {"count": count}, images)
        assert_refused(tmp_path / "b.sog", refused, read_sog)
    meta["shN"]["count"] = 10**9
    images["shN_centroids.webp"] = np.zeros((3000, 64 * 15, 4), np.uint8)
    pack(tmp_path / "b.sog", meta, images)
    assert_refused(tmp_path / "b.sog", "960 × 3000 pixels for", read_sog)


def test_a_folder_of_the_files_is_read(tmp_path):
    write_sog(tmp_path / "a.sog", random_splats(20, 1))
    with zipfile.ZipFile(tmp_path / "a.sog") as archive:
        archive.extractall(tmp_path / "scene")
    for path in (tmp_path / "scene", tmp_path / "scene" / "meta.json"):
        assert torch.equal(load_asset(path).sh, read_sog(tmp_path / "a.sog").sh)
    meta = json.loads((tmp_path / "scene" / "meta.json").read_text())
    for name, message in (("../a.sog", "a.sog is not in it"), ("none.webp", "is not in it")):
        changed = meta | {"quats": {"files": [name]}}
        (tmp_path / "scene" / "meta.json").write_text(json.dumps(changed))
        assert_refused(tmp_path / "scene" / "meta.json", message, load_splats)


def test_the_mark_of_antialiasing_is_named(tmp_path, recwarn):
    write_sog(tmp_path / "a.sog", random_splats(20))
    meta, images = contents(tmp_path / "a.sog")
    for antialias in (False, True):
        pack(tmp_path / "b.sog", meta | {"antialias": antialias}, images)
        read_sog(tmp_path / "b.sog")
        assert len(recwarn) == antialias
    assert "is marked as antialiased" in str(recwarn.pop(UserWarning).message)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused_before_anything_is_unpacked(tmp_path, method):
    """zipfile unpacks a block of them whole, and some kilobytes can be gigabytes."""
    path = tmp_path / "a.sog"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("meta.json", bytes(2**25))
    tracemalloc.start()
    with pytest.raises(UserError, match="meta.json cannot be unpacked .packing method .*deflate"):
        read_sog(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
