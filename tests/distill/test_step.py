"""What an iteration hands to a loss with surface noise, and the weight of regularizers."""

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.distill.settings.config import load_config
from gs3d.distill.start import begin
from gs3d.distill.state import Particle, Task, TrainState
from gs3d.distill.step import iterate, surface_points
from gs3d.priors import load
from gs3d.priors.prompts import ViewPrompts
from gs3d.raster import rasterize
from gs3d.runs.loop import enter_stage


def test_surface_points_lie_on_the_surface():
    # A disk in the plane x = 0.2, seen from the front.
    grid = torch.linspace(-0.5, 0.5, 40)
    y, z = torch.meshgrid(grid, grid, indexing="ij")
    means = torch.stack([torch.full_like(y, 0.2), y, z], dim=-1).reshape(-1, 3)
    count = len(means)
    splats = Splats(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.tensor([[1e-4, 0.02, 0.02]]).repeat(count, 1),
        torch.full((count,), 0.95),
        torch.zeros(count, 1, 3),
    )
    cameras = ring(1, 64, elevation_deg=0.0)
    out = rasterize(splats, cameras)
    surface = surface_points(out, cameras)
    assert 0.2 < surface.solid.float().mean() < 0.4
    points = surface.points[surface.solid]
    torch.testing.assert_close(points[:, 0], torch.full((len(points),), 0.2), atol=1e-3, rtol=0)
    assert points[:, 1:].abs().max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("config", ["builtin", "builtin-two-stage"])
def test_surface_noise_in_an_iteration(tiny_builtin_folder, config):
    run = load_config(config, "sds", ["losses.sds.noise=surface"])
    prior = load(tiny_builtin_folder, "cpu")
    prompts = ViewPrompts.of(prior, "a red duck")
    state = TrainState([Particle(begin(run.stages[0], 0, "cpu"))])
    entry = iterate(state, Task(prior, prompts, run, 0), 0.5, 0.01)
    assert not entry.skipped and float(entry.grad_norm) > 0


class Recorded:
    """A representation that keeps the weight of its regularizer and its gradient, and no more."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __len__(self):
        return len(self.inner)

    def regularizer(self, out, progress):
        self.unit = torch.ones((), requires_grad=True)
        return self.unit

    def optimize(self, progress, share):
        self.weight = float(self.unit.grad)
        self.inner.optimize(progress, share)


@pytest.mark.parametrize("weights", ["relative", "absolute"])
def test_weights_of_regularizers(tiny_builtin_folder, weights):
    """Relative ones follow the running size of the gradient."""
    run = load_config("builtin", "sds", [f"regularizer_weights={weights}"])
    prior = load(tiny_builtin_folder, "cpu")
    prompts = ViewPrompts.of(prior, "a red duck")
    state = TrainState([Particle(Recorded(begin(run.stages[0], 0, "cpu")))])
    sizes, found = [], []
    for _ in range(3):
        entry = iterate(state, Task(prior, prompts, run, 0), 0.5, 0.01)
        sizes.append(float(entry.grad_norm))
        found.append(state.representation.weight)
    running = [sizes[0]]
    for size in sizes[1:]:
        running.append(0.98 * running[-1] + 0.02 * size)
    assert found == pytest.approx(running if weights == "relative" else [1.0] * 3)
    assert float(state.particles[0].gradient_size) == pytest.approx(running[-1])


def test_the_size_of_the_gradient_is_that_of_a_stage():
    run = load_config("builtin-mesh")
    particle = Particle(begin(run.stages[0], 0, "cpu"), gradient_size=torch.tensor(3.0))
    state = TrainState([particle])
    enter_stage(state, run, 0.1)
    assert state.particles[0].gradient_size is not None
    particle.representation = begin(run.stages[1], 0, "cpu")  # a ball, whose conversion is quick
    enter_stage(state, run, 0.7)
    assert state.stage == 1 and state.particles[0].gradient_size is None
