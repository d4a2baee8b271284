"""The radiance field: closed forms of its parts, pictures of a field that is known, and that it can be fitted."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from gs3d.core.cameras import rays, ring
from gs3d.core.rng import generator
from gs3d.core.schedules import Ramp
from gs3d.representations.nerf.field import LOGIT_MAX, Field, FieldConfig, density_of
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import (
    LightConfig,
    Nerf,
    NerfConfig,
    NerfRegularizers,
    through_sphere,
    weights_of,
)
from gs3d.representations.nerf.occupancy import Occupancy

GRID = HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32)
FIELD = FieldConfig(grid=GRID, hidden=16)
SMALL = NerfConfig(field=FIELD, samples=48, occupancy_resolution=24)
GRAY = torch.full((3,), 0.5)


def rough_field(config: FieldConfig = FIELD) -> Field:
    """A field that is not the start's smooth blob."""
    field = Field(config, generator(3, "field"))
    with torch.no_grad():
        field.table *= 5e3
    return field


def test_rays_go_through_the_centers_of_their_pixels():
    cameras = ring(3, 16)
    directions, z_per_way = rays(cameras)
    points = cameras.centers[:, None, None] + 2.5 * directions
    local = (
        torch.einsum("bij,bhwj->bhwi", cameras.world_to_camera[:, :3, :3], points)
        + cameras.world_to_camera[:, None, None, :3, 3]
    )
    pixels = torch.einsum("bij,bhwj->bhwi", cameras.intrinsics, local / local[..., 2:])
    rows, columns = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    assert torch.allclose(pixels[..., 0], columns.expand(3, 16, 16), atol=1e-3)
    assert torch.allclose(pixels[..., 1], rows.expand(3, 16, 16), atol=1e-3)
    assert torch.allclose(local[..., 2], 2.5 * z_per_way, atol=1e-5)


def test_rays_enter_and_leave_the_sphere():
    origins = torch.tensor([[3.0, 0, 0], [3, 0, 0], [3, 0, 0], [0, 0, 0]])
    directions = torch.tensor([[-1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    near, far = through_sphere(origins, directions)
    assert near.tolist() == [2, 0, 0, 0] and far.tolist() == [4, 0, 0, 1]


def test_weights_of_even_fog():
    weights = weights_of(torch.full((2, 50), 3.0), torch.tensor([[0.02], [0.0]]))
    assert weights[0].sum() == pytest.approx(1 - math.exp(-3.0), rel=1e-5)
    assert weights[0, 10] == pytest.approx(math.exp(-0.6) * (1 - math.exp(-0.06)), rel=1e-5)
    assert not weights[1].any()


def test_weights_have_the_right_gradient():
    density = torch.rand(3, 7, dtype=torch.float64, generator=generator(1, "d")).requires_grad_()
    torch.autograd.gradcheck(
        lambda d: weights_of(d, torch.full((3, 1), 0.3, dtype=torch.float64)), density
    )


def test_density_grows_smoothly_past_its_bend():
    logit = torch.tensor([-200.0, LOGIT_MAX - 1e-3, LOGIT_MAX + 1e-3, 1e6], requires_grad=True)
    density = density_of(logit)
    density.sum().backward()
    assert torch.isfinite(density).all() and torch.isfinite(logit.grad).all()
    density = density.detach()
    assert density[0] == 0 and logit.grad[1] == pytest.approx(float(logit.grad[2]), rel=2e-3)
    assert density[2] == pytest.approx(math.exp(LOGIT_MAX), rel=2e-3)


def test_normals_go_down_the_slope_of_the_density():
    field, h = rough_field(), 2e-3
    points = 1.2 * torch.rand(400, 3, generator=generator(1, "points")) - 0.6
    normal = field(points, 1.0, normals=True).normal
    steps = h * torch.eye(3)
    slope = torch.stack(
        [
            field(points + s, 1.0).density.log() - field(points - s, 1.0).density.log()
            for s in steps
        ],
        1,
    ) / (2 * h)
    cosine = torch.nn.functional.cosine_similarity(-slope, normal, dim=1)
    # Of a difference that reaches across the border of a cell, half is another slope.
    assert cosine.median() > 0.999 and (cosine > 0.98).float().mean() > 0.8
    assert torch.allclose(normal.norm(dim=1), torch.ones(400), atol=1e-5)


def test_a_loss_on_normals_reaches_table_and_network():
    field = rough_field()
    points = torch.rand(50, 3, generator=generator(2, "points")) - 0.5
    field(points, 1.0, normals=True).normal[:, 2].sum().backward()
    assert all(
        p.grad.norm() > 0 for p in (field.table, field.density_in.weight, field.density_out.weight)
    )


def test_bands_open_one_by_one():
    config = FieldConfig(grid=HashGridConfig(levels=8), levels_at_start=2, levels_open=0.5)
    assert [config.levels(p) for p in (0.0, 0.1, 0.25, 0.5, 1.0)] == [2, 3, 5, 8, 8]
    assert FieldConfig(grid=GRID, levels_at_start=9).levels(0.0) == 4
    assert FieldConfig(grid=GRID, levels_at_start=1, levels_open=0.0).levels(0.0) == 4


def test_the_start_is_a_blob():
    nerf = Nerf(SMALL, seed=0)
    out = nerf.render(ring(2, 33), GRAY, normals=True)
    middle, corner = out.alpha[:, 16, 16, 0], out.alpha[:, 0, 0, 0]
    assert (middle > 0.99).all() and (corner < 0.1).all()
    # The surface in the middle faces the camera, and lies in front of the origin.
    towards = torch.nn.functional.normalize(ring(2, 33).centers, dim=1)
    assert ((out.normal[:, 16, 16] * towards).sum(1) > 0.9).all()
    assert (out.depth[:, 16, 16, 0] < ring(2, 33).centers.norm(dim=1)).all()
    assert torch.allclose(out.rgb[:, 0, 0], GRAY.expand(2, 3), atol=0.05)


def test_alpha_is_the_integral_of_the_density():
    nerf = Nerf(
        dataclasses.replace(
            SMALL, samples=400, field=dataclasses.replace(FIELD, blob_strength=2.0)
        ),
        seed=0,
    )
    cameras = ring(1, 9)
    out = nerf.render(cameras, GRAY)
    inwards = torch.nn.functional.normalize(-cameras.centers[0], dim=0)
    line = torch.linspace(-1, 1, 4001)[:, None] * inwards
    thickness = torch.trapezoid(nerf.field(line, 1.0).density, dx=2 / 4000)
    assert float(out.alpha[0, 4, 4, 0]) == pytest.approx(float(1 - torch.exp(-thickness)), abs=2e-3)


def test_what_is_empty_is_left_out_and_not_missed():
    nerf, whole = Nerf(SMALL, seed=0), Nerf(SMALL, seed=0)
    for step in range(3):
        nerf.look_around(1.0, generator(0, "look", step))
    assert 0.02 < nerf.occupancy.occupied.float().mean() < 0.6
    one, other = (n.render(ring(3, 32), GRAY) for n in (nerf, whole))
    # A ray that grazes the start's fog misses many faint steps; over the picture it is nothing.
    assert (one.alpha - other.alpha).abs().max() < 0.1 and (
        one.alpha - other.alpha
    ).abs().mean() < 0.02


def test_occupancy_knows_where_it_was_told():
    grid = Occupancy(8)
    points = grid.points(generator(0, "cells"))
    assert grid.at(torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [0, -1.01, 0]])).tolist() == [
        True,
        False,
        False,
    ]
    grid.render_views((points[:, 0] > 0.25).float() * 9, faintest=1.0)
    assert grid.at(torch.tensor([[0.9, 0, 0], [-0.9, 0, 0], [-0.1, 0.9, 0.9]])).tolist() == [
        True,
        False,
        False,
    ]
    for _ in range(15):
        grid.render_views(torch.zeros(512), faintest=1.0)
    grid.render_views((points[:, 1] > 0.25).float() * 9, faintest=1.0)
    assert grid.at(torch.tensor([[0.9, -0.9, 0], [-0.9, 0.9, 0]])).tolist() == [False, True]


def test_an_empty_or_a_full_field_still_renders():
    for strength, expected in ((-60.0, 0.0), (30.0, 1.0)):
        nerf = Nerf(SMALL, seed=0)
        with torch.no_grad():
            nerf.field.density_out.bias += strength
        nerf.look_around(1.0, generator(0, "look"))
        out = nerf.render(ring(1, 16), GRAY, normals=True)
        assert (
            torch.isfinite(out.rgb).all()
            and torch.isfinite(out.depth).all()
            and torch.isfinite(out.normal).all()
        )
        assert float(out.alpha[0, 8, 8, 0]) == pytest.approx(expected, abs=1e-3)


def test_light_without_texture_hides_every_color():
    lit = dataclasses.replace(SMALL, light=LightConfig(textureless=1.0, start=0.0, ambient=0.2))
    out = Nerf(lit, seed=0).render(ring(2, 16), torch.zeros(3), 0.5, generator(0, "light"))
    assert torch.allclose(out.rgb[..., 0], out.rgb[..., 1]) and torch.allclose(
        out.rgb[..., 0], out.rgb[..., 2]
    )
    inside = out.alpha[..., 0] > 0.99
    assert out.rgb[inside].max() > 0.6 and out.rgb[inside].min() >= 0.19


def test_light_comes_as_often_as_it_was_told_and_not_before_its_start():
    nerf = Nerf(
        dataclasses.replace(SMALL, light=LightConfig(lambert=0.3, textureless=0.2, start=0.5)),
        seed=0,
    )
    cameras = ring(1, 4)
    draws = [nerf._light(cameras, 0.6, generator(0, "light", i)) for i in range(400)]
    lit, white = [d[0] is not None for d in draws], [d[1] for d in draws]
    assert 0.4 < sum(lit) / 400 < 0.6 and 0.13 < sum(white) / 400 < 0.27
    assert all(not w or on for w, on in zip(white, lit, strict=True))
    assert nerf._light(cameras, 0.4, generator(0, "light"))[0] is None
    assert nerf._light(cameras, 0.6, None)[0] is None


@pytest.mark.parametrize("name", ["orientation", "smooth", "sparsity", "opaque"])
def test_each_regularizer_can_be_descended(name):
    nerf = Nerf(
        dataclasses.replace(
            SMALL,
            regularizers=NerfRegularizers(**{name: Ramp(1.0, 1.0)}),
            table_rate=Ramp(0.02, 0.02),
        ),
        seed=0,
    )
    with torch.no_grad():
        nerf.field.table *= 2e3
    values = []
    for step in range(8):
        out = nerf.render(ring(4, 24), GRAY, 1.0, generator(0, "fit"))
        values.append(nerf.regularizer(out, 1.0))
        values[-1].backward()
        nerf.optimize(step / 8, 0.01)
    assert values[0] > 0 and values[-1] < 0.95 * values[0]


def test_to_vanish_is_no_way_to_face_the_camera():
    nerf = Nerf(
        dataclasses.replace(
            SMALL,
            regularizers=NerfRegularizers(orientation=Ramp(1.0, 1.0)),
            table_rate=Ramp(0.02, 0.02),
        ),
        seed=0,
    )
    with torch.no_grad():
        nerf.field.table *= 2e3
    before = nerf.render(ring(4, 24), GRAY).alpha.mean()
    for step in range(8):
        out = nerf.render(ring(4, 24), GRAY)  # without a generator the terms are there too
        nerf.regularizer(out, 1.0).backward()
        nerf.optimize(step / 8, 0.1)
    assert nerf.render(ring(4, 24), GRAY).alpha.mean() > 0.85 * before


def test_no_regularizer_no_normals():
    out = Nerf(SMALL, seed=0).render(ring(1, 8), GRAY, 0.5, generator(0, "r"))
    assert out.normal is None and not out.aux


def test_pictures_of_a_ball_make_a_ball():
    """Fitted to eight views of a red and blue ball, it shows a ninth."""
    nerf = Nerf(
        dataclasses.replace(SMALL, table_rate=Ramp(0.03, 0.01), network_rate=Ramp(0.01, 0.003)),
        seed=0,
    )

    def ball(cameras):
        directions, _ = rays(cameras)
        origins = cameras.centers[:, None, None]
        along = (origins * directions).sum(-1)
        room = along**2 - origins.square().sum(-1) + 0.6**2
        hit = origins + (-along - room.clamp_min(0).sqrt())[..., None] * directions
        color = torch.where(
            hit[..., 2:] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
        )
        return torch.where(room[..., None] > 0, color, GRAY)

    views = ring(8, 24)
    for step in range(60):
        if step % 16 == 0:
            nerf.look_around(1.0, generator(0, "look", step))
        some = views[[step % 8, (step + 4) % 8]]
        (
            nerf.render(some, GRAY, 1.0, generator(0, "fit", step)).rgb - ball(some)
        ).square().mean().backward()
        nerf.optimize(step / 60, 0.01)
    unseen = ring(16, 24, elevation_deg=20)[[1, 7]]
    with torch.no_grad():
        error = (nerf.render(unseen, GRAY).rgb - ball(unseen)).square().mean()
    assert error < 0.01


def test_the_same_seed_makes_the_same_picture():
    one, other = (
        Nerf(SMALL, seed=4).render(ring(1, 12), GRAY, 0.3, generator(4, "r", 1)).rgb
        for _ in range(2)
    )
    assert torch.equal(one, other)


def test_a_learnt_background_comes_as_often_as_it_was_told_and_never_at_the_end():
    nerf, cameras = Nerf(dataclasses.replace(SMALL, background_network=0.3), seed=0), ring(1, 8)
    with torch.no_grad():
        nerf.background_network.last.bias.copy_(torch.tensor([4.0, -4.0, -4.0]))
        shown = [
            float(nerf.render(cameras, torch.zeros(3), 0.5, generator(0, "sky", i)).rgb[0, 0, 0, 0])
            for i in range(300)
        ]
    assert (
        set(np.round(shown, 3)) == {0.0, 0.982} and 60 < sum(value > 0.5 for value in shown) < 120
    )
    assert not nerf.render(cameras, torch.zeros(3), 0.5).rgb[0, 0, 0].any()


def test_a_learnt_background_learns_what_is_behind_and_is_kept():
    config = dataclasses.replace(SMALL, background_network=1.0, network_rate=Ramp(1e-2, 1e-2))
    nerf, cameras = Nerf(config, seed=0), ring(4, 16)
    goal = 0.5 + 0.4 * rays(cameras)[0]  # a color for each direction
    for i in range(200):
        out = nerf.render(cameras, GRAY, 0.5, generator(0, "fit", i))
        ((out.rgb - goal)[out.alpha.expand_as(goal) < 0.01]).square().mean().backward()
        assert len(nerf.gradients()) >= 4
        nerf.optimize(0.5, 0.01)
    rgb, alpha = out.rgb.detach(), out.alpha.detach()
    assert float((rgb - goal).abs()[alpha.expand_as(goal) < 0.01].mean()) < 0.05
    again = Nerf.from_state(nerf.state_tensors(), config)
    one, other = (n.render(cameras, GRAY, 0.5, generator(0, "same")).rgb for n in (nerf, again))
    assert (
        torch.equal(one, other)
        and {"params.background_network.last.bias", "params.table"} <= nerf.state_tensors().keys()
    )
