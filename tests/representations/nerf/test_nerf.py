"""The radiance field: renders of known fields, lighting, regularizers, background and fitting."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.cameras import rays, ring
from gs3d.core.rng import generator
from gs3d.core.schedules import Ramp
from gs3d.representations.nerf.config import LightConfig, NerfConfig, NerfRegularizers
from gs3d.representations.nerf.nerf import Nerf
from tests.representations.nerf.test_field import FIELD

SMALL = NerfConfig(field=FIELD, samples=48, occupancy_resolution=24)
GRAY = torch.full((3,), 0.5)


def test_initial_field_is_a_ball():
    nerf = Nerf(SMALL, seed=0)
    out = nerf.render(ring(2, 33), GRAY, normals=True)
    center, corner = out.alpha[:, 16, 16, 0], out.alpha[:, 0, 0, 0]
    assert (center > 0.99).all() and (corner < 0.1).all()
    # At the image center, the surface faces the camera and lies in front of the origin.
    towards = torch.nn.functional.normalize(ring(2, 33).centers, dim=1)
    assert ((out.normal[:, 16, 16] * towards).sum(1) > 0.9).all()
    assert (out.depth[:, 16, 16, 0] < ring(2, 33).centers.norm(dim=1)).all()
    assert torch.allclose(out.rgb[:, 0, 0], GRAY.expand(2, 3), atol=0.05)


def test_alpha_equals_the_integral_of_the_density():
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


def test_skipping_empty_voxels_hardly_changes_the_render():
    skipping, complete = Nerf(SMALL, seed=0), Nerf(SMALL, seed=0)
    for step in range(3):
        skipping.update_occupancy(1.0, generator(0, "look", step))
    assert 0.02 < skipping.occupancy.occupied.float().mean() < 0.6
    actual, expected = (n.render(ring(3, 32), GRAY) for n in (skipping, complete))
    difference = (actual.alpha - expected.alpha).abs()
    # A grazing ray skips many samples of low density, but the mean over the image is small.
    assert difference.max() < 0.1 and difference.mean() < 0.02


def test_empty_and_full_fields_render_finite_values():
    for bias, expected in ((-60.0, 0.0), (30.0, 1.0)):
        nerf = Nerf(SMALL, seed=0)
        with torch.no_grad():
            nerf.field.density_out.bias += bias
        nerf.update_occupancy(1.0, generator(0, "look"))
        out = nerf.render(ring(1, 16), GRAY, normals=True)
        assert (
            torch.isfinite(out.rgb).all()
            and torch.isfinite(out.depth).all()
            and torch.isfinite(out.normal).all()
        )
        assert float(out.alpha[0, 8, 8, 0]) == pytest.approx(expected, abs=1e-3)


def test_textureless_light_renders_gray():
    lit = dataclasses.replace(SMALL, light=LightConfig(textureless=1.0, start=0.0, ambient=0.2))
    out = Nerf(lit, seed=0).render(ring(2, 16), torch.zeros(3), 0.5, generator(0, "light"))
    assert torch.allclose(out.rgb[..., 0], out.rgb[..., 1])
    assert torch.allclose(out.rgb[..., 0], out.rgb[..., 2])
    inside = out.alpha[..., 0] > 0.99
    assert out.rgb[inside].max() > 0.6 and out.rgb[inside].min() >= 0.19


def test_light_has_the_requested_frequency_and_starts_on_time():
    nerf = Nerf(
        dataclasses.replace(SMALL, light=LightConfig(lambert=0.3, textureless=0.2, start=0.5)),
        seed=0,
    )
    cameras = ring(1, 4)
    draws = [nerf._light(cameras, 0.6, generator(0, "light", i)) for i in range(400)]
    lit, white = [d[0] is not None for d in draws], [d[1] for d in draws]
    assert 0.4 < sum(lit) / 400 < 0.6 and 0.13 < sum(white) / 400 < 0.27
    assert all(is_lit for is_white, is_lit in zip(white, lit, strict=True) if is_white)
    assert nerf._light(cameras, 0.4, generator(0, "light"))[0] is None
    assert nerf._light(cameras, 0.6, None)[0] is None


@pytest.mark.parametrize("name", ["orientation", "smooth", "sparsity", "opaque"])
def test_optimization_reduces_each_regularizer(name):
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


def test_orientation_regularizer_does_not_make_the_object_transparent():
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
        out = nerf.render(ring(4, 24), GRAY)  # the term exists without a generator too
        nerf.regularizer(out, 1.0).backward()
        nerf.optimize(step / 8, 0.1)
    assert nerf.render(ring(4, 24), GRAY).alpha.mean() > 0.85 * before


def test_normals_are_not_computed_unless_needed():
    out = Nerf(SMALL, seed=0).render(ring(1, 8), GRAY, 0.5, generator(0, "r"))
    assert out.normal is None and not out.aux


def test_fit_to_views_of_a_ball_predicts_unseen_views():
    """A field fitted to eight views of a red and blue ball renders two other views correctly."""
    nerf = Nerf(
        dataclasses.replace(SMALL, table_rate=Ramp(0.03, 0.01), network_rate=Ramp(0.01, 0.003)),
        seed=0,
    )

    def ball(cameras):
        directions, _ = rays(cameras)
        origins = cameras.centers[:, None, None]
        along = (origins * directions).sum(-1)
        discriminant = along**2 - origins.square().sum(-1) + 0.6**2
        hit = origins + (-along - discriminant.clamp_min(0).sqrt())[..., None] * directions
        color = torch.where(
            hit[..., 2:] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
        )
        return torch.where(discriminant[..., None] > 0, color, GRAY)

    views = ring(8, 24)
    for step in range(60):
        if step % 16 == 0:
            nerf.update_occupancy(1.0, generator(0, "look", step))
        batch = views[[step % 8, (step + 4) % 8]]
        out = nerf.render(batch, GRAY, 1.0, generator(0, "fit", step))
        (out.rgb - ball(batch)).square().mean().backward()
        nerf.optimize(step / 60, 0.01)
    unseen = ring(16, 24, elevation_deg=20)[[1, 7]]
    with torch.no_grad():
        error = (nerf.render(unseen, GRAY).rgb - ball(unseen)).square().mean()
    assert error < 0.01


def test_render_is_deterministic_for_a_seed():
    first, second = (
        Nerf(SMALL, seed=4).render(ring(1, 12), GRAY, 0.3, generator(4, "r", 1)).rgb
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_learned_background_has_the_requested_frequency_and_needs_a_generator():
    nerf, cameras = Nerf(dataclasses.replace(SMALL, background_network=0.3), seed=0), ring(1, 8)
    with torch.no_grad():
        nerf.background_network.last.bias.copy_(torch.tensor([4.0, -4.0, -4.0]))
        red = [
            float(nerf.render(cameras, torch.zeros(3), 0.5, generator(0, "sky", i)).rgb[0, 0, 0, 0])
            for i in range(300)
        ]
    assert set(np.round(red, 3)) == {0.0, 0.982} and 60 < sum(value > 0.5 for value in red) < 120
    assert not nerf.render(cameras, torch.zeros(3), 0.5).rgb[0, 0, 0].any()


def test_learned_background_fits_the_target_and_is_saved():
    config = dataclasses.replace(SMALL, background_network=1.0, network_rate=Ramp(1e-2, 1e-2))
    nerf, cameras = Nerf(config, seed=0), ring(4, 16)
    target = 0.5 + 0.4 * rays(cameras)[0]  # a color for each direction
    for i in range(200):
        out = nerf.render(cameras, GRAY, 0.5, generator(0, "fit", i))
        ((out.rgb - target)[out.alpha.expand_as(target) < 0.01]).square().mean().backward()
        assert len(nerf.gradients()) >= 4
        nerf.optimize(0.5, 0.01)
    rgb, alpha = out.rgb.detach(), out.alpha.detach()
    assert float((rgb - target).abs()[alpha.expand_as(target) < 0.01].mean()) < 0.05
    tensors = nerf.state_tensors()
    assert {"params.background_network.last.bias", "params.table"} <= tensors.keys()
    restored = Nerf.from_state(tensors, config)
    first, second = (
        n.render(cameras, GRAY, 0.5, generator(0, "same")).rgb for n in (nerf, restored)
    )
    assert torch.equal(first, second)
