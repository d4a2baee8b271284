"""What the loop asks of every representation."""

import dataclasses

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import DensifyConfig
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf, NerfConfig

FIELD = FieldConfig(grid=HashGridConfig(levels=3, log2_size=10, coarsest=4, finest=16), hidden=8)
NERF = NerfConfig(field=FIELD, samples=24, occupancy_resolution=12, occupancy_every=4)
DMTET = DmtetConfig(resolution=10, field=FIELD)
SPLATS, DENSIFY = (
    GaussianConfig(count=60),
    DensifyConfig(start=0.2, stop=0.9, rounds=4, max_count=90),
)
GRAY = torch.full((3,), 0.5)

KINDS = {
    "cloud": (
        lambda: Gaussians.blob(SPLATS, 0, "cpu", DENSIFY),
        lambda tensors: Gaussians.from_state(tensors, SPLATS, "cpu", DENSIFY),
    ),
    "nerf": (lambda: Nerf(NERF, 0), lambda tensors: Nerf.from_state(tensors, NERF)),
    "dmtet": (lambda: Dmtet.ball(DMTET, 0.5, 0), lambda tensors: Dmtet.from_state(tensors, DMTET)),
}


def go_on(shape, steps):
    for step in steps:
        now, before = (step + 1) / 12, step / 12
        out = shape.render(
            ring(4, 16)[[step % 4, (step + 1) % 4]], GRAY, now, generator(0, "render", step)
        )
        ((out.rgb - 0.8).square().mean() + shape.regularizer(out, now)).backward()
        shape.optimize(now, 1 / 12)
        shape.after_step(out, before, now, 0, step)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_two_parts_ends_as_one_in_one(kind):
    start, restore = KINDS[kind]
    whole, half = start(), start()
    go_on(whole, range(12))
    go_on(half, range(7))
    rest = restore({k: v.clone() for k, v in half.state_tensors().items()})
    go_on(rest, range(7, 12))
    one, other = whole.state_tensors(), rest.state_tensors()
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
    assert len(whole) == len(rest) > 0 and whole.is_consistent()
    fresh = start().state_tensors()
    assert any(k not in fresh or not torch.equal(fresh[k], v) for k, v in one.items())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_come_and_can_be_thrown_away(kind):
    shape = KINDS[kind][0]()
    assert not shape.gradients()
    out = shape.render(ring(2, 16), GRAY, 0.5, generator(0, "render"))
    (out.rgb.mean() + out.alpha.mean()).backward()
    assert sum(float(g.abs().sum()) for g in shape.gradients()) > 0
    shape.discard_gradients()
    assert not shape.gradients()


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_have_the_shapes_that_are_promised(kind):
    cameras, shape = dataclasses.replace(ring(3, 16), height=12), KINDS[kind][0]()
    out = shape.render(cameras, torch.rand(3, 3, generator=generator(0, "behind")))
    assert out.rgb.shape == (3, 12, 16, 3) and out.alpha.shape == out.depth.shape == (3, 12, 16, 1)
    assert out.alpha.min() >= -1e-5 and out.alpha.max() <= 1 + 1e-5
    assert shape.device.type == "cpu"
    again = shape.render(cameras, torch.rand(3, 3, generator=generator(0, "behind")))
    assert torch.equal(out.rgb, again.rgb)


@pytest.mark.parametrize("kind", KINDS)
def test_normals_come_when_asked_for(kind):
    shape, cameras = KINDS[kind][0](), ring(2, 24)
    out = shape.render(cameras, GRAY, normals=True)
    assert out.normal.shape == (2, 24, 24, 3)
    solid = out.alpha[..., 0] > 0.5
    outward = (out.normal * cameras.centers[:, None, None]).sum(-1)[solid]
    assert (
        solid.any() and outward.mean() > 0.2 * cameras.centers[0].norm()
    )  # of what is seen of a ball, most faces the camera
    out.normal.square().mean().backward()
    assert any(float(g.abs().sum()) > 0 for g in shape.gradients())


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["nerf", "dmtet"])
def test_a_gpu_does_as_the_cpu_does(kind):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    here = KINDS[kind][0]()
    there = {"nerf": Nerf, "dmtet": Dmtet}[kind].from_state(
        here.state_tensors(), {"nerf": NERF, "dmtet": DMTET}[kind], "cuda"
    )
    pictures = []
    for shape in (here, there):
        out = shape.render(
            ring(2, 32).to(shape.device), GRAY.to(shape.device), 0.5, None, normals=kind == "nerf"
        )
        (out.rgb.square().mean() + out.alpha.mean()).backward()
        pictures.append(
            (out.rgb.detach().cpu(), torch.cat([g.flatten().cpu() for g in shape.gradients()]))
        )
    (picture, slope), (other, other_slope) = pictures
    torch.testing.assert_close(picture, other, atol=1e-4, rtol=1e-4)
    assert (slope - other_slope).norm() < 1e-3 * slope.norm()
