"""DMTet surfaces are closed for any parameters and can be optimized from images."""

import dataclasses

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.schedules import Ramp
from gs3d.representations.dmtet.config import DmtetConfig, DmtetRegularizers
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from tests.representations.dmtet.test_tets import is_closed, mesh_volume

FIELD = FieldConfig(grid=HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32), hidden=16)
SMALL = DmtetConfig(resolution=20, field=FIELD)
GRAY = torch.full((3,), 0.5)


def test_surface_with_random_parameters_is_closed():
    surface = Dmtet.ball(SMALL, 0.6, seed=0)
    with torch.no_grad():
        surface.distance.copy_(
            torch.randn(surface.distance.shape, generator=generator(0, "distance"))
        )
        surface.offset.copy_(
            9 * torch.randn(surface.offset.shape, generator=generator(0, "offset"))
        )
    mesh = surface.surface_mesh()
    assert is_closed(mesh.faces) and mesh_volume(mesh.points, mesh.faces) > 0
    assert mesh.points.abs().max() <= 1 + SMALL.max_offset * 2 / SMALL.resolution


def test_render_with_normals_gives_colors_no_gradient():
    surface = Dmtet.ball(SMALL, 0.6, seed=0)
    out = surface.render(ring(2, 32), GRAY, normals=True)
    (out.normal.square().sum() + out.alpha.sum()).backward()
    assert surface.distance.grad is not None and all(
        p.grad is None for p in surface.colors.parameters()
    )


def test_render_of_a_ball():
    surface = Dmtet.ball(SMALL, 0.6, seed=0)
    cameras = ring(2, 48)
    out = surface.render(cameras, GRAY)
    towards = torch.nn.functional.normalize(cameras.centers, dim=1)
    center = out.normal[:, 24, 24]
    assert (out.alpha[:, 24, 24] == 1).all() and (out.alpha[:, 0, 0] == 0).all()
    assert ((center * towards).sum(1) > 0.95).all()
    assert torch.equal(out.rgb[:, 0, 0], GRAY.expand(2, 3))
    assert torch.allclose(out.depth[:, 24, 24, 0], cameras.centers.norm(dim=1) - 0.6, atol=0.03)
    assert torch.allclose(
        out.normal.norm(dim=-1)[out.alpha[..., 0] == 1], torch.ones(()), atol=0.05
    )


def test_silhouettes_optimize_the_shape():
    """A ball becomes a tall ellipsoid when fitted to eight silhouettes of one."""
    config = dataclasses.replace(
        SMALL,
        resolution=16,
        regularizers=DmtetRegularizers(consistency=Ramp(0.02, 0.02), laplacian=Ramp(0.02, 0.02)),
    )
    surface, target = Dmtet.ball(config, 0.5, seed=0), Dmtet.ball(config, 0.5, seed=0)
    with torch.no_grad():
        ellipsoid = (target.grid.vertices / torch.tensor([0.4, 0.4, 0.75])).norm(dim=1) - 1
        target.distance.copy_((ellipsoid * 0.45 * config.resolution / 2).clamp(-1, 1))
    views = ring(8, 32)
    target_alpha = target.render(views, GRAY).alpha.detach()

    def error():
        return (surface.render(views, GRAY).alpha - target_alpha).square().mean()

    before = float(error().detach())
    for step in range(40):
        batch = [step % 8, (step + 3) % 8]
        out = surface.render(views[batch], GRAY)
        loss = (out.alpha - target_alpha[batch]).square().mean()
        (loss + 0.05 * surface.regularizer(out, 0.5)).backward()
        surface.optimize(step / 40, 0.01)
    mesh = surface.surface_mesh()
    assert float(error().detach()) < 0.15 * before and is_closed(mesh.faces)
    assert mesh.points[:, 2].max() > 0.62 and mesh.points[:, :2].norm(dim=1).max() < 0.5


def test_colors_are_learned():
    surface = Dmtet.ball(
        dataclasses.replace(SMALL, table_rate=Ramp(0.01, 0.01), network_rate=Ramp(0.02, 0.005)),
        0.6,
        seed=0,
    )
    views, red = ring(4, 24), torch.tensor([0.9, 0.1, 0.1])
    for step in range(25):
        out = surface.render(views, GRAY)
        ((out.rgb - red) * (out.alpha > 0.99)).square().mean().backward()
        surface.optimize(step / 25, 0.01)
    with torch.no_grad():
        out = surface.render(views, GRAY)
    assert (out.rgb[(out.alpha > 0.99)[..., 0]] - red).abs().mean() < 0.1


@pytest.mark.parametrize("name", ["consistency", "laplacian"])
def test_regularizers_smooth_a_rough_surface(name):
    config = dataclasses.replace(SMALL, regularizers=DmtetRegularizers(**{name: Ramp(1.0, 1.0)}))
    surface = Dmtet.ball(config, 0.6, seed=0)
    with torch.no_grad():
        surface.distance += 0.3 * torch.randn(
            surface.distance.shape, generator=generator(0, "rough")
        )
    values = []
    for step in range(10):
        out = surface.render(ring(1, 8), GRAY)
        values.append(surface.regularizer(out, 0.5))
        values[-1].backward()
        surface.optimize(step / 10, 0.01)
    assert values[0] > 0 and values[-1] < 0.8 * values[0]


def test_empty_surface_renders_the_background():
    config = dataclasses.replace(
        SMALL, regularizers=DmtetRegularizers(consistency=Ramp(1.0, 1.0), laplacian=Ramp(1.0, 1.0))
    )
    surface = Dmtet.ball(config, 0.6, seed=0)
    with torch.no_grad():
        surface.distance.fill_(1.0)
    out = surface.render(ring(2, 8), GRAY)
    (out.rgb.sum() + surface.regularizer(out, 0.5)).backward()
    assert not out.alpha.any() and torch.equal(out.rgb, GRAY.expand(2, 8, 8, 3))


@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 1}, {"resolution": 257}, {"max_offset": 0.5}, {"distance_rate": Ramp(-1, 0)}],
)
def test_invalid_settings_raise_value_error_with_their_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DmtetConfig(**wrong)
