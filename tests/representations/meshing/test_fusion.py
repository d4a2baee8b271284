"""Meshes of splats against the reference objects that the splats were created from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.reference import reference_splats
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.representations.meshing.simplify import thinned
from gs3d.world.captions import Meaning, Thing
from gs3d.world.colors import NAMED
from gs3d.world.mesh import distance_to, mesh_of
from gs3d.world.sample import realize


def parts_of(kind, color="red", **more):
    """Return the parts of a reference object."""
    return realize(np.random.default_rng(0), Meaning(Thing(kind, color, **more))).parts


def is_closed(faces) -> bool:
    """Return whether each directed edge occurs once, and so does its opposite."""
    half = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    forward = {tuple(edge) for edge in half}
    return len(forward) == len(half) and all((b, a) in forward for a, b in forward)


@pytest.fixture(scope="module")
def chair():
    parts = parts_of("chair", "blue", part="legs", part_color="yellow")
    return parts, mesh_of_splats(reference_splats(parts), faces=3000, resolution=64)


@pytest.mark.parametrize("kind", ["car", "mug"])
def test_mesh_is_closed_and_near_the_reference(kind):
    parts = parts_of(kind)
    mesh = mesh_of_splats(reference_splats(parts), faces=8000, resolution=96, views=40).colored()
    assert is_closed(mesh.faces) and len(mesh.faces) <= 8000
    assert np.abs(distance_to(parts, mesh.vertices)).mean() < 0.05
    distances = cKDTree(mesh.vertices).query(mesh_of(parts, resolution=48).vertices)[0]
    # The median, because the reference has interior surfaces that no view sees.
    assert np.median(distances) < 0.06
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
    above = mesh.vertices + 0.02 * mesh.normals
    outward = distance_to(parts, above) > distance_to(parts, mesh.vertices)
    assert outward.mean() > 0.8


def nearest_word(colors) -> np.ndarray:
    """Return the color word, blue or yellow, that is nearest to each color in hue."""
    words = {word: NAMED[word] for word in ("blue", "yellow")}
    full_value = colors / colors.max(axis=1, keepdims=True)
    distances = [
        np.linalg.norm(full_value - np.array(rgb) / max(rgb), axis=1) for rgb in words.values()
    ]
    return np.array(list(words))[np.argmin(distances, axis=0)]


def test_vertices_have_the_colors_of_the_parts(chair):
    mesh = chair[1].colored()
    words = nearest_word(mesh.colors)
    low, high = np.quantile(mesh.vertices[:, 2], (0.15, 0.85))
    assert (words[mesh.vertices[:, 2] < low] == "yellow").mean() > 0.9
    assert (words[mesh.vertices[:, 2] > high] == "blue").mean() > 0.9


def test_texture_at_vertices_equals_vertex_colors(chair):
    textured, plain = chair[1].textured(256), chair[1].colored()
    assert textured.texture.shape == (256, 256, 3) and len(textured.faces) == len(plain.faces)
    assert textured.uvs.min() >= 0 and textured.uvs.max() <= 1
    rows, columns = ((textured.uvs[:, i] * 256).astype(int).clip(0, 255) for i in (1, 0))
    owner = cKDTree(plain.vertices).query(textured.vertices)[1]
    errors = np.abs(textured.texture[rows, columns] - plain.colors[owner]).mean(1)
    assert np.median(errors) < 0.05
    assert (textured.texture.max(axis=2) > 0.05).all()  # texels outside the charts have a color
    np.testing.assert_allclose(textured.vertices, plain.vertices[owner], atol=1e-5)


def test_mesh_moves_and_scales_with_the_splats(chair):
    parts, small = chair
    splats = reference_splats(parts)
    moved = Splats(
        10 * splats.means + torch.tensor([5.0, -3.0, 40.0]),
        splats.quats,
        10 * splats.scales,
        splats.opacities,
        splats.sh,
    )
    large = mesh_of_splats(moved, faces=3000, resolution=64)
    for a, b in zip(
        large.colored().vertices.min(0),
        small.colored().vertices.min(0) * 10 + (5, -3, 40),
        strict=True,
    ):
        assert a == pytest.approx(b, abs=0.5)


def test_floater_is_removed_and_second_object_is_kept(chair):
    splats = reference_splats(chair[0])

    def with_ball(size):
        points = (
            torch.nn.functional.normalize(
                torch.randn(400, 3, generator=torch.Generator().manual_seed(0)), dim=1
            )
            * size
        )
        ball = replace(splats[:400], means=points + torch.tensor([0.0, 1.3, 0.0]))
        both = Splats.cat([splats, ball])
        return mesh_of_splats(both, faces=4000, resolution=64).colored().vertices[:, 1].max()

    assert with_ball(0.005) < 1.0 < 1.3 < with_ball(0.2)


def test_single_splat_becomes_a_small_closed_mesh():
    one = Splats(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.1),
        torch.tensor([0.95]),
        torch.ones(1, 1, 3),
    )
    mesh = mesh_of_splats(one, resolution=32).colored()
    assert is_closed(mesh.faces) and 0.02 < np.linalg.norm(mesh.vertices, axis=1).max() < 0.4


@pytest.mark.parametrize("size", [1e-5, 1e4])
def test_tiny_and_huge_splats_have_valid_textures_and_normals(size):
    one = Splats(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), size),
        torch.full((1,), 0.95),
        torch.zeros(1, 1, 3),
    )
    mesh = mesh_of_splats(one, resolution=32).textured(64)
    assert np.isfinite(mesh.uvs).all() and mesh.uvs.min() >= 0 and np.ptp(mesh.uvs) > 0.5
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("opacity", [0.0, 0.05, 0.15])
def test_splats_with_nothing_solid_raise_user_error(opacity):
    splats = reference_splats(parts_of("ball"), size_px=16)
    thin = Splats(
        splats.means[::9],
        splats.quats[::9],
        0.1 * splats.scales[::9],
        0 * splats.opacities[::9] + opacity,
        splats.sh[::9],
    )
    with pytest.raises(UserError, match="^mesh: expected .*, got none"):
        mesh_of_splats(thin, resolution=32)


@pytest.mark.parametrize(
    ("name", "value"), [("faces", 0), ("resolution", 1), ("resolution", 4096), ("views", 2)]
)
def test_settings_out_of_range_raise_value_error(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        mesh_of_splats(reference_splats(parts_of("ball"), size_px=16), **{name: value})


def test_simplification_keeps_the_surface_closed_and_in_place():
    fine = mesh_of(parts_of("teapot"), resolution=96)
    vertices, faces = thinned(fine.vertices, fine.faces, 3000)
    assert len(faces) <= 3000 and is_closed(faces)
    assert cKDTree(fine.vertices).query(vertices)[0].max() < 0.03
