"""All representations implement the `Representation` interface that the training loop uses."""

import dataclasses

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import DensifyConfig
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.nerf.config import NerfConfig
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf

FIELD = FieldConfig(grid=HashGridConfig(levels=3, log2_size=10, coarsest=4, finest=16), hidden=8)
NERF = NerfConfig(field=FIELD, samples=24, occupancy_resolution=12, occupancy_every=4)
DMTET = DmtetConfig(resolution=10, field=FIELD)
SPLATS, DENSIFY = (
    GaussianConfig(count=60),
    DensifyConfig(start=0.2, stop=0.9, rounds=4, max_count=90),
)
GRAY = torch.full((3,), 0.5)

REPRESENTATIONS = {
    "gaussians": (
        lambda: Gaussians.blob(SPLATS, 0, "cpu", DENSIFY),
        lambda tensors: Gaussians.from_state(tensors, SPLATS, "cpu", DENSIFY),
    ),
    "nerf": (lambda: Nerf(NERF, 0), lambda tensors: Nerf.from_state(tensors, NERF)),
    "dmtet": (lambda: Dmtet.ball(DMTET, 0.5, 0), lambda tensors: Dmtet.from_state(tensors, DMTET)),
}


def train(representation, steps):
    """Train for the given steps of a run of twelve."""
    for step in steps:
        now, before = (step + 1) / 12, step / 12
        out = representation.render(
            ring(4, 16)[[step % 4, (step + 1) % 4]], GRAY, now, generator(0, "render", step)
        )
        ((out.rgb - 0.8).square().mean() + representation.regularizer(out, now)).backward()
        representation.optimize(now, 1 / 12)
        representation.after_step(out, before, now, 0, step)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_restored_run_equals_uninterrupted_run(name):
    create, restore = REPRESENTATIONS[name]
    uninterrupted, first_part = create(), create()
    train(uninterrupted, range(12))
    train(first_part, range(7))
    restored = restore({k: v.clone() for k, v in first_part.state_tensors().items()})
    train(restored, range(7, 12))
    expected, actual = uninterrupted.state_tensors(), restored.state_tensors()
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[k], actual[k]) for k in expected)
    assert len(uninterrupted) == len(restored) > 0 and uninterrupted.is_consistent()
    initial = create().state_tensors()
    assert any(k not in initial or not torch.equal(initial[k], v) for k, v in expected.items())


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_backward_gives_gradients_and_discard_clears_them(name):
    representation = REPRESENTATIONS[name][0]()
    assert not representation.gradients()
    out = representation.render(ring(2, 16), GRAY, 0.5, generator(0, "render"))
    (out.rgb.mean() + out.alpha.mean()).backward()
    assert sum(float(g.abs().sum()) for g in representation.gradients()) > 0
    representation.discard_gradients()
    assert not representation.gradients()


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_render_has_documented_shapes_and_is_deterministic(name):
    cameras = dataclasses.replace(ring(3, 16), height=12)
    representation = REPRESENTATIONS[name][0]()
    out = representation.render(cameras, torch.rand(3, 3, generator=generator(0, "behind")))
    assert out.rgb.shape == (3, 12, 16, 3) and out.alpha.shape == out.depth.shape == (3, 12, 16, 1)
    assert out.alpha.min() >= -1e-5 and out.alpha.max() <= 1 + 1e-5
    assert representation.device.type == "cpu"
    again = representation.render(cameras, torch.rand(3, 3, generator=generator(0, "behind")))
    assert torch.equal(out.rgb, again.rgb)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_requested_normals_face_the_camera_and_have_gradients(name):
    representation, cameras = REPRESENTATIONS[name][0](), ring(2, 24)
    out = representation.render(cameras, GRAY, normals=True)
    assert out.normal.shape == (2, 24, 24, 3)
    solid = out.alpha[..., 0] > 0.5
    towards_camera = (out.normal * cameras.centers[:, None, None]).sum(-1)[solid]
    # Most of the visible part of a ball faces the camera.
    assert solid.any() and towards_camera.mean() > 0.2 * cameras.centers[0].norm()
    out.normal.square().mean().backward()
    assert any(float(g.abs().sum()) > 0 for g in representation.gradients())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["nerf", "dmtet"])
def test_cuda_equals_cpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_cpu = REPRESENTATIONS[name][0]()
    on_cuda = {"nerf": Nerf, "dmtet": Dmtet}[name].from_state(
        on_cpu.state_tensors(), {"nerf": NERF, "dmtet": DMTET}[name], "cuda"
    )
    results = []
    for representation in (on_cpu, on_cuda):
        device = representation.device
        out = representation.render(
            ring(2, 32).to(device), GRAY.to(device), 0.5, None, normals=name == "nerf"
        )
        (out.rgb.square().mean() + out.alpha.mean()).backward()
        gradient = torch.cat([g.flatten().cpu() for g in representation.gradients()])
        results.append((out.rgb.detach().cpu(), gradient))
    (image, gradient), (cuda_image, cuda_gradient) = results
    torch.testing.assert_close(image, cuda_image, atol=1e-4, rtol=1e-4)
    assert (gradient - cuda_gradient).norm() < 1e-3 * gradient.norm()
