"""gs3d's files in third-party viewers, compared with gs3d's own renders: `make test-viewers`.

The object has no symmetry: a letter F, readable from the front, and a bar along each axis in the
color of that axis. The images differ if any two axes are swapped or mirrored.
"""

import functools
import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit
from gs3d.core.types import SH_C0, Splats
from gs3d.evaluation.reference import reference_splats
from gs3d.io import load_splats, save_splats
from gs3d.io.mesh import write_mesh
from gs3d.ops.place import place_of
from gs3d.raster import reference
from gs3d.representations.asset import Asset, draw
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.world.sample import sample
from tests.io.splats.samples import random_splats
from tests.viewers.browser import HERE, Viewers, started

MODULES = HERE / "node_modules"
# They start a browser, so they run only where GS3D_TEST_VIEWERS is set: `make test-viewers`, CI.
pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium and npm: make test-viewers"
)

SIZE_PX, FOVY_DEG, BACKGROUND = 256, 38.0, (0.92, 0.92, 0.92)
MIN_DB = 30.0
"""Lowest PSNR of a screenshot against gs3d's render."""
VIEWER_MIN_DB = {"playcanvas": 27.0}
"""PlayCanvas cuts a splat off at 2.8 standard deviations and fades it out towards there. That is
visible in the letter, which is almost all edge."""


def bar(start, end, color, thickness=0.05, count=12) -> Splats:
    """Splats along a line. Each is three times as long as thick."""
    start, end = torch.tensor(start), torch.tensor(end)
    along = torch.nn.functional.normalize(end - start, dim=0)
    x = torch.tensor([1.0, 0.0, 0.0])
    # Rotates x to the direction of the bar.
    quat = torch.cat([(1 + x @ along)[None], torch.linalg.cross(x, along)])
    means = start + torch.linspace(0, 1, count)[:, None] * (end - start)
    sh = torch.zeros(count, 16, 3)
    sh[:, 0] = (torch.tensor(color) - 0.5) / SH_C0
    scales = torch.tensor([thickness * 1.5, thickness * 0.5, thickness * 0.5]).expand(count, 3)
    return Splats(
        means,
        torch.nn.functional.normalize(quat, dim=0).expand(count, 4),
        scales,
        torch.full((count,), 0.9),
        sh,
    )


def letter(degree: int = 0) -> Splats:
    """The letter F with its bars. Above degree 0, colors depend on the view direction."""
    dark = [0.2, 0.2, 0.25]
    parts = [
        bar([0.0, -0.25, -0.5], [0.0, -0.25, 0.5], dark, count=20),
        bar([0.0, -0.25, 0.5], [0.0, 0.35, 0.5], dark),
        bar([0.0, -0.25, 0.1], [0.0, 0.2, 0.1], dark),
        bar([0.0, 0.0, -0.3], [0.6, 0.0, -0.3], [0.85, 0.15, 0.1]),
        bar([0.0, 0.0, -0.3], [0.0, 0.6, -0.3], [0.1, 0.7, 0.2]),
        bar([0.0, 0.05, -0.3], [0.0, 0.3, -0.05], [0.1, 0.3, 0.9]),
    ]
    splats = Splats.cat(parts)
    sh = splats.sh[:, : (degree + 1) ** 2].clone()
    sh[:, 1:] = 0.12 * torch.randn(sh[:, 1:].shape, generator=torch.Generator().manual_seed(0))
    return replace(splats, sh=sh)


def camera(azimuth_deg: float = 35.0, elevation_deg: float = 20.0) -> Cameras:
    fovy = torch.tensor([math.radians(FOVY_DEG)])
    angles = (torch.tensor([math.radians(a)]) for a in (azimuth_deg, elevation_deg))
    return orbit(*angles, distance_for(fovy, 0.95), fovy, SIZE_PX, SIZE_PX)


@pytest.fixture(scope="module")
def viewers(tmp_path_factory):
    with started(SIZE_PX, tmp_path_factory.mktemp("downloads")) as viewers:
        yield viewers


@pytest.fixture
def psnr(viewers):
    """`psnr_in` with the browser of this module."""
    return functools.partial(psnr_in, viewers)


def moved(asset: Asset, by: torch.Tensor) -> Asset:
    if isinstance(asset, Splats):
        return replace(asset, means=asset.means + by)
    return replace(asset, vertices=asset.vertices + by.numpy())


def psnr_in(viewers: Viewers, asset, viewer: str, file: Path, render=draw) -> float:
    """PSNR in dB, over the object, of a viewer's screenshot of `file` against a render of `asset`.

    Saves both side by side in the folder GS3D_VIEWER_PICTURES, if it is set.
    """
    from PIL import Image

    view = camera()
    if viewer == "own":  # its camera turns about the object, wherever that is
        center = torch.from_numpy(place_of(asset).center).float()
        asset = moved(asset, -center)
    out = render(asset, view, BACKGROUND)
    expected = out.rgb[0].clamp(0, 1).numpy()
    eye = view.centers[0].double().numpy()
    image = viewers.screenshot(viewer, file, eye, FOVY_DEG, BACKGROUND)
    if folder := os.environ.get("GS3D_VIEWER_PICTURES"):
        both = np.concatenate([expected, image], axis=1)
        path = Path(folder) / f"{viewer}-{file.name}.png"
        Image.fromarray((255 * both + 0.5).astype(np.uint8)).save(path)
    mask = out.alpha[0, ..., 0].numpy() > 0.02
    error = np.square(expected - image)[mask].mean()
    return float(-10 * np.log10(error))


def test_the_letter_is_readable_in_the_reference_render():
    """Checks the reference of all other tests.

    Seen from the front, the arms of the F are to the right of its stem, the red bar points towards
    the camera and the green one to the right.
    """
    out = draw(letter(), camera(0.0, 0.0), BACKGROUND)
    rgb, half = out.rgb[0], SIZE_PX // 2
    green, dark = rgb[..., 1] - rgb[..., 0] > 0.3, (rgb < 0.5).all(-1)
    rows, columns = green.nonzero().float().mean(dim=0).tolist()
    assert columns > half and rows > half
    assert float(dark[:half].float().sum()) > 1.2 * float(dark[half:].float().sum())


@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize(
    "viewer, name",
    [
        ("own", "a.html"),
        ("spark", "a.ply"),
        ("spark", "a.splat"),
        ("spark", "a.spz"),
        ("playcanvas", "a.ply"),
        ("playcanvas", "a.compressed.ply"),
        ("spark", "a.compressed.ply"),
        ("babylon", "a.glb"),
    ],
)
def test_splats_match_in_other_viewers(psnr, tmp_path, viewer, name, degree):
    splats = letter(degree)
    save_splats(tmp_path / name, splats)
    # A .splat holds one color for all views, so it is compared with what the file holds.
    expected = load_splats(tmp_path / name) if name == "a.splat" else splats
    assert psnr(expected, viewer, tmp_path / name) >= VIEWER_MIN_DB.get(viewer, MIN_DB)


@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply"])
def test_playcanvas_matches_with_its_own_kernel(psnr, tmp_path, monkeypatch, name, degree):
    """PlayCanvas cuts splats off at s = 4, and fades them so that they reach 0 there."""
    end = math.exp(-4)
    monkeypatch.setattr(
        reference, "falloff", lambda s: (((-s).exp() - end) / (1 - end)).clamp(min=0)
    )
    splats = letter(degree)
    save_splats(tmp_path / name, splats)

    def render(asset, view, background):
        return reference.rasterize_reference(asset, view, torch.tensor(background))

    assert psnr(splats, "playcanvas", tmp_path / name, render) >= MIN_DB


@pytest.mark.parametrize(
    "viewer, name", [("own", "a.html"), ("spark", "a.ply"), ("babylon", "a.glb")]
)
def test_an_object_matches_in_other_viewers(psnr, tmp_path, viewer, name):
    t = reference_splats(sample(np.random.default_rng(0), "teapot", "red").parts)
    splats = Splats(
        t.means[::10], t.quats[::10], 3.2 * t.scales[::10], t.opacities[::10], t.sh[::10]
    )
    save_splats(tmp_path / name, splats)
    assert psnr(splats, viewer, tmp_path / name) >= MIN_DB


def test_a_mesh_matches_in_three(psnr, tmp_path):
    mesh = mesh_of_splats(letter(), resolution=96).textured(512)
    write_mesh(tmp_path / "a.glb", mesh)
    # Three.js smooths edges and gs3d does not, so the limit is lower.
    assert psnr(mesh, "three", tmp_path / "a.glb") >= 25


@pytest.mark.parametrize("textured", [False, True])
def test_a_mesh_matches_in_its_page(psnr, tmp_path, textured):
    surface = mesh_of_splats(letter(), resolution=96)
    mesh = surface.textured(512) if textured else surface.colored()
    mesh = moved(mesh, torch.tensor([0.1, 3.0, -0.5]))
    write_mesh(tmp_path / "a.html", mesh)
    # The browser smooths edges in another way than gs3d.
    assert psnr(mesh, "own", tmp_path / "a.html") >= 27


def splat_transform(*arguments) -> None:
    """Run PlayCanvas' converter."""
    tool = MODULES / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    subprocess.run(["node", tool, *arguments], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.splat", "a.spz", "a.sog"])
def test_splat_transform_reads_gs3d_files(tmp_path, name):
    splats = letter()
    save_splats(tmp_path / name, splats)
    splat_transform(tmp_path / name, tmp_path / "out.ply")
    got, expected = load_splats(tmp_path / "out.ply"), load_splats(tmp_path / name)
    assert len(got) == len(splats)
    # From .spz to .ply, splat-transform rotates about X, and gs3d about Z. Both results are
    # upright, but face opposite directions.
    if name == "a.spz":
        expected = replace(expected, means=expected.means * torch.tensor([-1.0, -1.0, 1.0]))
    for part in ("means", "scales", "opacities"):
        values, expected_values = (getattr(s, part).sort(0).values for s in (got, expected))
        assert torch.allclose(values, expected_values, atol=1e-4)


@pytest.mark.parametrize("degree", [0, 3])
def test_gs3d_reads_a_sog_as_splat_transform_does(tmp_path, degree):
    save_splats(tmp_path / "a.ply", random_splats(300, degree))
    splat_transform("-g", "cpu", tmp_path / "a.ply", tmp_path / "a.sog")
    splat_transform(tmp_path / "a.sog", tmp_path / "back.ply")
    got, expected = load_splats(tmp_path / "a.sog"), load_splats(tmp_path / "back.ply")
    for part in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.allclose(getattr(got, part), getattr(expected, part), atol=1e-5)


def test_the_gltf_validator_finds_no_issues(tmp_path):
    write_mesh(tmp_path / "a.glb", mesh_of_splats(letter(), resolution=48).textured(128))
    script = (
        "const v = require('gltf-validator'), fs = require('fs');"
        "const bytes = new Uint8Array(fs.readFileSync(process.argv[1]));"
        "v.validateBytes(bytes).then((r) => console.log(JSON.stringify(r.issues)));"
    )
    result = subprocess.run(
        ["node", "-e", script, tmp_path / "a.glb"],
        cwd=HERE,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    issues = json.loads(result.stdout)
    assert issues["numErrors"] == issues["numWarnings"] == 0
