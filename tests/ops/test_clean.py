"""What is removed, moved and turned, and what is said about splats and meshes."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.ops import clean
from gs3d.ops.extent import box_of, center_of, reach_of
from gs3d.ops.stats import losses, mesh_stats, oddities, splat_stats
from gs3d.raster.reference import rotations, sh_basis


def splats_at(means, scale: float = 0.02, opacity: float = 0.9, degree: int = 0) -> Splats:
    means = torch.as_tensor(means, dtype=torch.float32)
    n = len(means)
    quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1)
    return Splats(
        means,
        quats,
        torch.full((n, 3), scale),
        torch.full((n,), opacity),
        torch.zeros(n, (degree + 1) ** 2, 3),
    )


def ball(count: int = 3000, radius: float = 0.9, seed: int = 0) -> torch.Tensor:
    """Points on a sphere [count, 3]."""
    return radius * torch.nn.functional.normalize(
        torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def same(a: Splats, b: Splats) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


# Where splats lie


def test_strays_do_not_move_the_box_and_a_handful_is_held_whole():
    means = torch.cat([ball(5000), torch.tensor([[1000.0, 0, 0], [0, -1e6, 0]])])
    low, high = box_of(means)
    assert (np.abs(low + 0.9) < 0.01).all() and (np.abs(high - 0.9) < 0.01).all()
    assert reach_of(means) == pytest.approx(0.9, rel=1e-5)
    few = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 0]])
    assert center_of(few).tolist() == [0.5, 1.5, 0] and reach_of(few) == 3
    assert reach_of(few, (0, 3, 0)) == pytest.approx(math.sqrt(10))


# Removing


def test_crop_keeps_the_faces_of_its_box():
    splats = splats_at([[0, 0, 0], [1, 1, 1], [1.01, 0, 0], [0, 0, -0.01]])
    assert clean.crop(splats, (0, 0, 0), (1, 1, 1)).means.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert len(splats) == 4 and len(clean.crop(splats, (5, 5, 5), (6, 6, 6))) == 0


def test_clear_splats_go():
    splats = replace(splats_at(torch.zeros(3, 3)), opacities=torch.tensor([0.019, 0.02, 1.0]))
    assert clean.drop_clear(splats, 0.02).opacities.tolist() == splats.opacities[1:].tolist()


def test_large_is_told_by_the_radius_about_the_center():
    splats = splats_at(ball(radius=2) + 100)
    splats.scales[7, 2] = 0.9
    splats.scales[11, 0] = 1.1
    left = clean.drop_large(splats, 0.5)
    assert len(left) == len(splats) - 1 and left.scales.max() == pytest.approx(0.9)
    assert len(clean.drop_large(splats_at([[1.0, 0, 0]]), 0.5)) == 1  # no radius


def test_floaters_go_alone_and_in_groups_and_parts_of_the_object_stay():
    body, part = ball(4000), ball(400, radius=0.2, seed=1) + torch.tensor([2.5, 0, 0])
    alone = torch.tensor([[0.0, 0, 3], [0, 0, 0], [-40, 2, 1], [0, 2, 0]])
    group = ball(15, radius=0.02, seed=2) + torch.tensor([0, 0, -4.0])
    splats = splats_at(torch.cat([alone[:2], body, group, part, alone[2:]]))
    expected = torch.cat([body, part])
    for factor in (1, 1e-3, 1e3):  # the rule has no length of its own
        left = clean.drop_floaters(replace(splats, means=splats.means * factor))
        assert torch.equal(left.means, expected * factor)


def test_an_even_grid_or_one_point_or_a_few_have_no_floaters():
    axis = torch.arange(12.0)
    grid = torch.cartesian_prod(axis, axis, axis)
    assert len(clean.drop_floaters(splats_at(grid))) == len(grid)
    assert len(clean.drop_floaters(splats_at(torch.zeros(3000, 3)))) == 3000
    assert (
        len(clean.drop_floaters(splats_at(torch.tensor([[0.0, 0, 0]] * 19 + [[9.0, 9, 9]])))) == 20
    )
    assert len(clean.drop_floaters(splats_at(torch.zeros(0, 3)))) == 0


def test_a_tight_knot_in_a_surface_is_no_group_of_its_own():
    """Densification leaves many splats nearly in one point: their nearest neighbors are all among themselves."""
    knot = ball(1)[0] + 1e-6 * torch.randn(14, 3, generator=torch.Generator().manual_seed(3))
    means = torch.cat([ball(3000), knot])
    assert len(clean.drop_floaters(splats_at(means))) == len(means)


def test_density_that_varies_makes_no_floaters():
    dense, sparse = ball(3000, radius=0.3), ball(1500, radius=0.95, seed=1)
    assert len(clean.drop_floaters(splats_at(torch.cat([dense, sparse])))) == 4500


def test_a_haze_goes():
    """Strays that are as far from each other as from the object."""
    residue = 6 * torch.rand(60, 3, generator=torch.Generator().manual_seed(6)) - 3
    residue = residue[(residue.norm(dim=1) - 0.9).abs() > 0.5]
    assert (
        len(residue) > 40
        and len(clean.drop_floaters(splats_at(torch.cat([ball(6000), residue])))) == 6000
    )


def test_the_most_important_cover_most():
    splats = splats_at(torch.arange(15.0).reshape(5, 3))
    splats.scales[:] = torch.tensor(
        [[1.0, 1, 1], [2, 2, 0.001], [9, 0.1, 0.1], [1, 1, 1], [0.1, 3, 0.5]]
    )
    splats.opacities[:] = torch.tensor(
        [0.5, 0.25, 1.0, 0.4, 1.0]
    )  # opacity × area: 0.5, 1, 0.9, 0.4, 1.5
    assert torch.equal(clean.most_important(splats, 3).means, splats.means[[1, 2, 4]])
    assert same(clean.most_important(splats, 99), splats)
    tied = splats_at(torch.arange(9.0).reshape(3, 3))
    assert torch.equal(clean.most_important(tied, 2).means, tied.means[:2])


# Moving


def test_center_and_radius():
    splats = splats_at(ball(2000, radius=3) + torch.tensor([10.0, -20, 5]), scale=0.3)
    made = clean.fitted(clean.centered(splats), 1.0)
    assert np.abs(center_of(made.means)).max() < 1e-5 and reach_of(made.means) == pytest.approx(
        1, abs=1e-5
    )
    assert made.scales.max() == pytest.approx(0.1, rel=1e-2) and made.means.dtype == torch.float32
    alone = splats_at([[0.0, 0, 0]])
    assert same(clean.fitted(alone, 5.0), alone)


def test_rotation_is_about_x_then_y_then_z():
    front, left, up = torch.eye(3)
    made = clean.rotated(splats_at(torch.stack([front, left, up])), 90, 0, 90)
    assert torch.allclose(made.means, torch.stack([left, up, front]), atol=1e-6)
    made = clean.rotated(splats_at(torch.stack([front, left, up])), 0, 90, 0)
    assert torch.allclose(made.means, torch.stack([-up, left, front]), atol=1e-6)


def test_rotation_turns_axes_and_colors_with_the_means():
    gen = torch.Generator().manual_seed(4)
    splats = replace(
        splats_at(torch.randn(20, 3, generator=gen)),
        quats=torch.randn(20, 4, generator=gen),
        sh=torch.randn(20, 16, 3, generator=gen),
    )
    made = clean.rotated(splats, 10, 20, 30)
    turn = clean.rotated(splats_at(torch.eye(3)), 10, 20, 30).means.T.double()
    assert torch.allclose(
        rotations(made.quats.double()), turn @ rotations(splats.quats.double()), atol=1e-6
    )
    directions = ball(50, radius=1).double()
    before = torch.einsum("dk,nkc->ndc", sh_basis(directions, 16), splats.sh.double())
    after = torch.einsum("dk,nkc->ndc", sh_basis(directions @ turn.T, 16), made.sh.double())
    assert torch.allclose(before, after, atol=1e-5)


def test_lower_degree():
    splats = splats_at(torch.zeros(3, 3), degree=3)
    assert [clean.lower_degree(splats, d).sh.shape[1] for d in (0, 1, 2, 3)] == [1, 4, 9, 16]
    assert same(clean.lower_degree(clean.lower_degree(splats, 1), 2), clean.lower_degree(splats, 1))


# Figures


def test_figures_of_splats():
    splats = splats_at(ball(1000, radius=0.9), degree=2)
    splats.opacities[:10] = 0.01
    splats.opacities[10:30] = 1.0
    splats.opacities[30:] = 0.95
    splats.scales[:5, 1] = 0.61
    splats.scales[100:150, 2] = 1e-5
    stats = json.loads(json.dumps(splat_stats(splats, left_out=3), allow_nan=False))
    assert (stats["count"], stats["sh_degree"], stats["left_out"]) == (1000, 2, 3)
    assert stats["opacities"]["counts"] == [10, 0, 0, 0, 0, 0, 0, 0, 0, 990]
    assert stats["opacities"]["edges"] == pytest.approx(np.linspace(0, 1, 11).tolist())
    assert (
        stats["longest_axes"]["counts"] == [995, 0, 0, 0, 0, 0, 0, 0, 0, 5]
        and len(stats["longest_axes"]["edges"]) == 11
    )
    assert (stats["nearly_clear"], stats["huge"], stats["needles"]) == (0.01, 0.005, 0.05)
    assert stats["radius"] == pytest.approx(0.9, abs=0.01) and stats["memory_bytes"] == 4 * 1000 * (
        3 + 4 + 3 + 1 + 27
    )
    assert oddities(stats) == [
        "3 rows could not be read and were left out: gs3d convert writes the rest"
    ] + ["0.50% are huge: gs3d clean --max-scale 0.5"]


def test_one_splat_and_scales_of_zero_have_figures():
    stats = splat_stats(splats_at([[0.0, 0, 0]], scale=0.0))
    assert sum(stats["longest_axes"]["counts"]) == 1 and stats["huge"] == 0
    json.dumps(stats, allow_nan=False)


@pytest.mark.parametrize(
    ("splats", "expected"),
    [
        (splats_at(ball()), []),
        (splats_at(ball(), opacity=0.01), ["100% are nearly clear: gs3d clean --min-opacity 0.02"]),
        (
            splats_at(torch.cat([ball(), torch.tensor([[0, 0, 90.0]])])),
            ["a few lie 99.9 radii out: gs3d clean --floaters"],
        ),
        (
            splats_at(ball() + 3),
            [
                "reaches 6.09 from the origin, where cameras look at a radius of 1: gs3d clean --center --radius 1"
            ],
        ),
        (
            splats_at(ball(radius=0.01), 0.001),
            [
                "reaches 0.01 from the origin, where cameras look at a radius of 1: gs3d clean --center --radius 1"
            ],
        ),
        (
            replace(splats_at(ball()), scales=torch.tensor([[0.02, 0.02, 1e-4]]).repeat(3000, 1)),
            ["100% are needles or flakes"],
        ),
    ],
)
def test_oddities_of_splats(splats, expected):
    assert oddities(splat_stats(splats)) == expected


def cube(side: float = 1.0) -> Mesh:
    corners = (
        np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) * side
        - side / 2
    )
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
    return Mesh(corners, np.array(faces, np.int32), corners, np.full((8, 3), 0.5, np.float32))


def test_figures_of_meshes():
    stats = json.loads(json.dumps(mesh_stats(cube()), allow_nan=False))
    assert (stats["vertices"], stats["faces"], stats["watertight"], stats["texture"]) == (
        8,
        12,
        True,
        None,
    )
    assert (
        stats["volume"] == pytest.approx(1) and stats["min"] == [-0.5] * 3 and oddities(stats) == []
    )
    assert oddities(mesh_stats(replace(cube(), faces=cube().faces[1:]))) == [
        "not closed: 3 edges with one triangle"
    ]
    assert oddities(mesh_stats(replace(cube(), faces=cube().faces[:, ::-1]))) == [
        "inside out: its triangles face inwards"
    ]
    doubled = np.concatenate([cube().faces, cube().faces[:1]])
    assert oddities(mesh_stats(replace(cube(), faces=doubled))) == [
        "3 edges with more than two triangles"
    ]


def test_charts_of_a_texture_do_not_open_a_mesh():
    whole = cube()
    corners = whole.vertices[whole.faces.reshape(-1)]
    faces = np.arange(36, dtype=np.int32).reshape(12, 3)
    stats = mesh_stats(
        TexturedMesh(corners, faces, corners, corners[:, :2], np.zeros((64, 64, 3), np.float32))
    )
    assert stats["watertight"] and stats["texture"] == [64, 64] and stats["vertices"] == 36


# What a format did not keep


def test_rounding_and_another_order_are_no_loss():
    gen = torch.Generator().manual_seed(5)
    splats = replace(splats_at(ball(500), degree=1), sh=torch.rand(500, 4, 3, generator=gen))
    rounded = splats[torch.randperm(500, generator=gen)]
    rounded = replace(
        rounded,
        opacities=rounded.opacities + 0.002,
        scales=rounded.scales * 1.03,
        sh=rounded.sh + 0.01,
    )
    assert losses(splats, rounded) == []


def test_losses_are_named():
    splats = splats_at(ball(500), degree=2)
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
