"""The surface of the second stage: closed whatever happens to it, and moved by what its pictures lack."""

import dataclasses

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.schedules import Ramp
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig, DmtetRegularizers
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from tests.representations.dmtet.test_tets import is_closed, mesh_volume

FIELD = FieldConfig(grid=HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32), hidden=16)
SMALL = DmtetConfig(resolution=20, field=FIELD)
GRAY = torch.full((3,), 0.5)


def test_it_stays_closed_however_its_parameters_are_torn():
    made = Dmtet.ball(SMALL, 0.6, seed=0)
    with torch.no_grad():
        made.distance.copy_(torch.randn(made.distance.shape, generator=generator(0, "distance")))
        made.offset.copy_(9 * torch.randn(made.offset.shape, generator=generator(0, "offset")))
    surface_mesh = made.surface_mesh()
    assert (
        is_closed(surface_mesh.faces) and mesh_volume(surface_mesh.points, surface_mesh.faces) > 0
    )
    assert surface_mesh.points.abs().max() <= 1 + SMALL.max_offset * 2 / SMALL.resolution


def test_who_looks_at_normals_alone_moves_no_colors():
    made = Dmtet.ball(SMALL, 0.6, seed=0)
    out = made.render(ring(2, 32), GRAY, normals=True)
    (out.normal.square().sum() + out.alpha.sum()).backward()
    assert made.distance.grad is not None and all(p.grad is None for p in made.colors.parameters())


def test_pictures_of_a_ball():
    made = Dmtet.ball(SMALL, 0.6, seed=0)
    cameras = ring(2, 48)
    out = made.render(cameras, GRAY)
    towards = torch.nn.functional.normalize(cameras.centers, dim=1)
    middle = out.normal[:, 24, 24]
    assert (out.alpha[:, 24, 24] == 1).all() and (out.alpha[:, 0, 0] == 0).all()
    assert ((middle * towards).sum(1) > 0.95).all()
    assert torch.equal(out.rgb[:, 0, 0], GRAY.expand(2, 3))
    assert torch.allclose(out.depth[:, 24, 24, 0], cameras.centers.norm(dim=1) - 0.6, atol=0.03)
    assert torch.allclose(
        out.normal.norm(dim=-1)[out.alpha[..., 0] == 1], torch.ones(()), atol=0.05
    )


def test_silhouettes_make_the_shape():
    """From eight outlines of a tall ellipsoid, a ball grows tall."""
    config = dataclasses.replace(
        SMALL,
        resolution=16,
        regularizers=DmtetRegularizers(consistency=Ramp(0.02, 0.02), laplacian=Ramp(0.02, 0.02)),
    )
    made, goal = Dmtet.ball(config, 0.5, seed=0), Dmtet.ball(config, 0.5, seed=0)
    with torch.no_grad():
        shape = (goal.grid.vertices / torch.tensor([0.4, 0.4, 0.75])).norm(dim=1) - 1
        goal.distance.copy_((shape * 0.45 * config.resolution / 2).clamp(-1, 1))
    views = ring(8, 32)
    wanted = goal.render(views, GRAY).alpha.detach()

    def error():
        return (made.render(views, GRAY).alpha - wanted).square().mean()

    before = float(error().detach())
    for step in range(40):
        some = [step % 8, (step + 3) % 8]
        out = made.render(views[some], GRAY)
        ((out.alpha - wanted[some]).square().mean() + 0.05 * made.regularizer(out, 0.5)).backward()
        made.optimize(step / 40, 0.01)
    surface_mesh = made.surface_mesh()
    assert float(error().detach()) < 0.15 * before and is_closed(surface_mesh.faces)
    assert (
        surface_mesh.points[:, 2].max() > 0.62
        and surface_mesh.points[:, :2].norm(dim=1).max() < 0.5
    )


def test_colors_are_learnt():
    made = Dmtet.ball(
        dataclasses.replace(SMALL, table_rate=Ramp(0.01, 0.01), network_rate=Ramp(0.02, 0.005)),
        0.6,
        seed=0,
    )
    views, red = ring(4, 24), torch.tensor([0.9, 0.1, 0.1])
    for step in range(25):
        out = made.render(views, GRAY)
        ((out.rgb - red) * (out.alpha > 0.99)).square().mean().backward()
        made.optimize(step / 25, 0.01)
    with torch.no_grad():
        out = made.render(views, GRAY)
    assert (out.rgb[(out.alpha > 0.99)[..., 0]] - red).abs().mean() < 0.1


@pytest.mark.parametrize("name", ["consistency", "laplacian"])
def test_regularizers_smooth(name):
    config = dataclasses.replace(SMALL, regularizers=DmtetRegularizers(**{name: Ramp(1.0, 1.0)}))
    made = Dmtet.ball(config, 0.6, seed=0)
    with torch.no_grad():
        made.distance += 0.3 * torch.randn(made.distance.shape, generator=generator(0, "rough"))
    values = []
    for step in range(10):
        out = made.render(ring(1, 8), GRAY)
        values.append(made.regularizer(out, 0.5))
        values[-1].backward()
        made.optimize(step / 10, 0.01)
    assert values[0] > 0 and values[-1] < 0.8 * values[0]


def test_a_surface_that_is_gone_is_an_empty_picture():
    config = dataclasses.replace(
        SMALL, regularizers=DmtetRegularizers(consistency=Ramp(1.0, 1.0), laplacian=Ramp(1.0, 1.0))
    )
    made = Dmtet.ball(config, 0.6, seed=0)
    with torch.no_grad():
        made.distance.fill_(1.0)
    out = made.render(ring(2, 8), GRAY)
    (out.rgb.sum() + made.regularizer(out, 0.5)).backward()
    assert not out.alpha.any() and torch.equal(out.rgb, GRAY.expand(2, 8, 8, 3))


@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 1}, {"resolution": 257}, {"max_offset": 0.5}, {"distance_rate": Ramp(-1, 0)}],
)
def test_sizes_that_make_no_surface(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DmtetConfig(**wrong)
