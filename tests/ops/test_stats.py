"""Statistics and problems of splats and meshes, and losses of file formats."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.types import Mesh, TexturedMesh
from gs3d.ops.stats import losses, mesh_stats, oddities, splat_stats
from tests.ops.test_clean import sphere, splats_at


def test_splat_stats():
    splats = splats_at(sphere(1000, radius=0.9), degree=2)
    splats.opacities[:10] = 0.01
    splats.opacities[10:30] = 1.0
    splats.opacities[30:] = 0.95
    splats.scales[:5, 1] = 0.61
    splats.scales[100:150, 2] = 1e-5
    stats = json.loads(json.dumps(splat_stats(splats, left_out=3), allow_nan=False))
    assert (stats["count"], stats["sh_degree"], stats["left_out"]) == (1000, 2, 3)
    assert stats["opacities"]["counts"] == [10, 0, 0, 0, 0, 0, 0, 0, 0, 990]
    assert stats["opacities"]["edges"] == pytest.approx(np.linspace(0, 1, 11).tolist())
    assert stats["longest_axes"]["counts"] == [995, 0, 0, 0, 0, 0, 0, 0, 0, 5]
    assert len(stats["longest_axes"]["edges"]) == 11
    assert (stats["nearly_clear"], stats["huge"], stats["needles"]) == (0.01, 0.005, 0.05)
    assert stats["radius"] == pytest.approx(0.9, abs=0.01)
    assert stats["memory_bytes"] == 4 * 1000 * (3 + 4 + 3 + 1 + 27)
    assert oddities(stats) == [
        "3 rows could not be read and were left out: gs3d convert writes the rest",
        "0.50% are longer than a third of the extent: gs3d clean --max-scale 0.5",
    ]


def test_one_splat_of_scale_zero_has_finite_stats():
    stats = splat_stats(splats_at([[0.0, 0, 0]], scale=0.0))
    assert sum(stats["longest_axes"]["counts"]) == 1 and stats["huge"] == 0
    json.dumps(stats, allow_nan=False)


REMEDY = "while cameras show a radius of 1: gs3d clean --center --radius 1"


@pytest.mark.parametrize(
    ("splats", "expected"),
    [
        (splats_at(sphere()), []),
        (
            splats_at(sphere(), opacity=0.01),
            ["100% are nearly clear: gs3d clean --min-opacity 0.02"],
        ),
        (
            splats_at(torch.cat([sphere(), torch.tensor([[0, 0, 90.0]])])),
            ["a few lie up to 99.9 radii from the center: gs3d clean --floaters"],
        ),
        (splats_at(sphere() + 3), [f"extends 6.09 from the origin, {REMEDY}"]),
        (splats_at(sphere(radius=0.01), 0.001), [f"extends 0.01 from the origin, {REMEDY}"]),
        (
            replace(splats_at(sphere()), scales=torch.tensor([[0.02, 0.02, 1e-4]]).repeat(3000, 1)),
            ["100% have a longest axis over 100 times the shortest"],
        ),
    ],
)
def test_oddities_of_splats(splats, expected):
    assert oddities(splat_stats(splats)) == expected


def cube(side: float = 1.0) -> Mesh:
    unit = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    vertices = unit * side - side / 2
    faces = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
    return Mesh(vertices, np.array(faces, np.int32), vertices, np.full((8, 3), 0.5, np.float32))


def test_mesh_stats_and_oddities_of_meshes():
    stats = json.loads(json.dumps(mesh_stats(cube()), allow_nan=False))
    assert (stats["vertices"], stats["faces"]) == (8, 12)
    assert (stats["watertight"], stats["texture"]) == (True, None)
    assert stats["volume"] == pytest.approx(1)
    assert stats["min"] == [-0.5] * 3
    assert oddities(stats) == []
    assert oddities(mesh_stats(replace(cube(), faces=cube().faces[1:]))) == [
        "not watertight: 3 edges with one triangle"
    ]
    assert oddities(mesh_stats(replace(cube(), faces=cube().faces[:, ::-1]))) == [
        "inside out: its triangles face inwards"
    ]
    doubled = np.concatenate([cube().faces, cube().faces[:1]])
    assert oddities(mesh_stats(replace(cube(), faces=doubled))) == [
        "3 edges with more than two triangles"
    ]


def test_seams_of_texture_charts_do_not_count_as_open_edges():
    vertices = cube().vertices[cube().faces.reshape(-1)]
    faces = np.arange(36, dtype=np.int32).reshape(12, 3)
    texture = np.zeros((64, 64, 3), np.float32)
    stats = mesh_stats(TexturedMesh(vertices, faces, vertices, vertices[:, :2], texture))
    assert stats["watertight"] and stats["texture"] == [64, 64] and stats["vertices"] == 36


def test_rounding_and_reordering_are_not_losses():
    gen = torch.Generator().manual_seed(5)
    splats = replace(splats_at(sphere(500), degree=1), sh=torch.rand(500, 4, 3, generator=gen))
    rounded = splats[torch.randperm(500, generator=gen)]
    rounded = replace(
        rounded,
        opacities=rounded.opacities + 0.002,
        scales=rounded.scales * 1.03,
        sh=rounded.sh + 0.01,
    )
    assert losses(splats, rounded) == []


def test_rounding_of_positions_that_shows_is_a_loss():
    gen = torch.Generator().manual_seed(5)
    splats = splats_at(sphere(500))
    for step, shows in ((0.001, False), (0.1, True)):
        rounded = replace(splats, means=(splats.means / step).round() * step)
        found = losses(splats, rounded[torch.randperm(500, generator=gen)])
        assert len(found) == shows
        assert all("positions exactly: they are up to 0.05 off" in line for line in found)


def test_losses_are_described():
    splats = splats_at(sphere(500), degree=2)
    splats.sh[0, 0] = 3.0
    cut = replace(splats[:499], sh=splats.sh[:499, :1].clamp(-1.7725, 1.7725))
    cut = replace(cut, scales=cut.scales * 2, opacities=cut.opacities * 0.5)
    assert losses(splats, cut) == [
        "1 of 500 splats",
        "the harmonics above degree 0",
        "scales from 0.02 to 0.02, which became 0.04 to 0.04",
        "opacities from 0.9 to 0.9, which became 0.45 to 0.45",
        "colors from 0.5 to 1.35, which became 0.5 to 1",
    ]
