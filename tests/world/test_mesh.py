"""Meshes are closed, match the surface in renders, and have the colors of the caption."""

import math

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.evaluation.metrics.geometry import unprojected
from gs3d.world.captions import Meaning, Thing
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.mesh import distance_to, mesh_of, parts_at, thickness
from gs3d.world.parts import ball, box, cone, table
from gs3d.world.render import render
from gs3d.world.sample import realize, sample


def volume(mesh) -> float:
    """By the divergence theorem; positive if triangles are counterclockwise seen from outside."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(float) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def is_closed(mesh) -> bool:
    """Whether every edge belongs to exactly two triangles of consistent orientation."""
    half = np.concatenate([mesh.faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    forward = {tuple(edge) for edge in half}
    return len(forward) == len(half) and all((b, a) in forward for a, b in forward)


def object_of(*parts):
    return table(
        list(parts), {"main": (1.0, 0.0, 0.0), "other": (0.0, 0.0, 1.0)}, 0, (0.0, 0.0, 0.0)
    )


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (ball((0.1, 0, -0.2), 0.5, "main"), 4 / 3 * math.pi * 0.5**3),
        (ball((0, 0, 0), (0.7, 0.3, 0.4), "main"), 4 / 3 * math.pi * 0.7 * 0.3 * 0.4),
        (box((0, 0.1, 0), (0.3, 0.4, 0.5), "main"), 8 * 0.3 * 0.4 * 0.5),
        (cone((0, 0, 0), 0.5, 0.2, 0.4, "main"), math.pi * 0.8 / 3 * (0.25 + 0.1 + 0.04)),
    ],
)
def test_mesh_volume_and_orientation(part, expected):
    mesh = mesh_of(object_of(part), resolution=96)
    assert volume(mesh) == pytest.approx(expected, rel=0.01)
    assert is_closed(mesh)


@pytest.mark.parametrize("kind", KINDS)
def test_mesh_of_every_kind_is_closed_and_on_the_surface(kind):
    parts = sample(np.random.default_rng(3), kind=kind).parts
    mesh = mesh_of(parts, resolution=64)
    assert is_closed(mesh) and volume(mesh) > 0
    assert np.abs(distance_to(parts, mesh.vertices)).max() < 2e-3
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 1
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
    outside = mesh.vertices + 0.01 * mesh.normals
    # Not all points are outside: some normals in creases between parts point into another part.
    assert (distance_to(parts, outside) > 0).mean() > 0.97


def test_renders_match_mesh_surface():
    parts = sample(np.random.default_rng(5), kind="teapot").parts
    cameras = ring(8, 48)
    renders = render([parts] * 8, cameras, supersample=1)
    hit = torch.from_numpy(renders.alpha) > 0
    points = unprojected(torch.from_numpy(renders.depth), cameras)[hit].numpy()
    assert len(points) > 1000
    assert np.abs(distance_to(parts, points)).max() < 5e-3
    vertices = torch.from_numpy(mesh_of(parts, resolution=96).vertices)
    assert torch.cdist(torch.from_numpy(points).float(), vertices).min(1).values.max() < 2 / 96


def test_named_part_has_its_caption_color():
    thing = Thing("chair", "blue", part="legs", part_color="yellow")
    parts = realize(np.random.default_rng(0), Meaning(thing)).parts
    mesh = mesh_of(parts, resolution=64)
    blue, yellow = (
        np.abs(mesh.colors - NAMED[word]).max(axis=1) < 0.1 for word in ("blue", "yellow")
    )
    assert (blue ^ yellow).all()
    assert mesh.vertices[yellow][:, 2].max() < mesh.vertices[blue][:, 2].max()
    owners = parts_at(parts, mesh.vertices)
    assert set(owners) == set(range(len(parts)))
    np.testing.assert_allclose(mesh.colors, parts[owners, 17:20], atol=1e-6)


def test_mesh_shows_pattern():
    spotted_ball = Meaning(Thing("ball", "red", "spots", "white"))
    parts = realize(np.random.default_rng(0), spotted_ball).parts
    colors = mesh_of(parts, resolution=64).colors
    white = np.abs(colors - NAMED["white"]).max(axis=1) < 0.1
    assert 0.1 < white.mean() < 0.9


@pytest.mark.parametrize("resolution", [15, 513, float("nan")])
def test_resolution_out_of_range(resolution):
    with pytest.raises(ValueError, match="resolution"):
        mesh_of(object_of(ball((0, 0, 0), 0.5, "main")), resolution)


def test_default_resolution_resolves_every_part_of_every_kind():
    for kind in KINDS:
        for seed in range(4):
            parts = sample(np.random.default_rng(seed), kind=kind).parts
            assert thickness(parts).min() > 0.5 * 2 / 128, kind


def test_resolution_too_low_for_every_part():
    speck = object_of(ball((0.03, 0.03, 0.03), 0.01, "main"))
    assert thickness(speck) == pytest.approx(0.02)
    message = "resolution: expected voxels thinner than the parts, got 16; increase it"
    with pytest.raises(ValueError, match=message):
        mesh_of(speck, 16)


def test_mesh_of_no_parts():
    with pytest.raises(ValueError, match="with 1 to 63 parts"):
        mesh_of(np.zeros((0, 26), np.float32))
