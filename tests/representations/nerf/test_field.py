"""The field: density, normals and the levels of its grid."""

import math

import pytest
import torch

from gs3d.core.rng import generator
from gs3d.representations.nerf.field import LOGIT_MAX, Field, FieldConfig, density_of
from gs3d.representations.nerf.hashgrid import HashGridConfig

GRID = HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32)
FIELD = FieldConfig(grid=GRID, hidden=16)


def rough_field(config: FieldConfig = FIELD) -> Field:
    """Return a field with a rough density instead of the smooth initial one."""
    field = Field(config, generator(3, "field"))
    with torch.no_grad():
        field.table *= 5e3
    return field


def test_density_is_finite_and_smooth_at_logit_max():
    logit = torch.tensor([-200.0, LOGIT_MAX - 1e-3, LOGIT_MAX + 1e-3, 1e6], requires_grad=True)
    density = density_of(logit)
    density.sum().backward()
    assert torch.isfinite(density).all() and torch.isfinite(logit.grad).all()
    density = density.detach()
    assert density[0] == 0 and logit.grad[1] == pytest.approx(float(logit.grad[2]), rel=2e-3)
    assert density[2] == pytest.approx(math.exp(LOGIT_MAX), rel=2e-3)


def test_normals_equal_finite_differences_of_the_density():
    field, h = rough_field(), 2e-3
    points = 1.2 * torch.rand(400, 3, generator=generator(1, "points")) - 0.6
    normal = field(points, 1.0, normals=True).normal
    steps = h * torch.eye(3)
    gradient = torch.stack(
        [
            field(points + s, 1.0).density.log() - field(points - s, 1.0).density.log()
            for s in steps
        ],
        1,
    ) / (2 * h)
    cosine = torch.nn.functional.cosine_similarity(-gradient, normal, dim=1)
    # A difference across the face of a voxel mixes the gradients of two voxels.
    assert cosine.median() > 0.999 and (cosine > 0.98).float().mean() > 0.8
    assert torch.allclose(normal.norm(dim=1), torch.ones(400), atol=1e-5)


def test_loss_on_normals_has_gradients_in_table_and_network():
    field = rough_field()
    points = torch.rand(50, 3, generator=generator(2, "points")) - 0.5
    field(points, 1.0, normals=True).normal[:, 2].sum().backward()
    assert all(
        p.grad.norm() > 0 for p in (field.table, field.density_in.weight, field.density_out.weight)
    )


def test_levels_open_one_by_one():
    config = FieldConfig(grid=HashGridConfig(levels=8), levels_at_start=2, levels_open=0.5)
    assert [config.levels(p) for p in (0.0, 0.1, 0.25, 0.5, 1.0)] == [2, 3, 5, 8, 8]
    assert FieldConfig(grid=GRID, levels_at_start=9).levels(0.0) == 4
    assert FieldConfig(grid=GRID, levels_at_start=1, levels_open=0.0).levels(0.0) == 4
