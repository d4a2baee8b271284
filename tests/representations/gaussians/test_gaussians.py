"""Gaussians: initialization, optimization, regularizers, checkpoints and densification."""

import math

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.schedules import Ramp
from gs3d.representations.gaussians.config import GaussianConfig, RateConfig, RegularizerConfig
from gs3d.representations.gaussians.densify import Densifier, DensifyConfig
from gs3d.representations.gaussians.gaussians import Gaussians


def blob(**settings) -> Gaussians:
    return Gaussians.blob(GaussianConfig(**{"count": 200, **settings}), seed=1)


def fit(gaussians: Gaussians, cameras, target, steps: int) -> float:
    """Optimize the splats towards `target` and return the last loss."""
    for step in range(steps):
        loss = (gaussians.render(cameras, torch.ones(3)).rgb - target).square().mean()
        loss.backward()
        gaussians.optimize(step / steps, 1 / steps)
    return loss.item()


def test_blob_has_requested_radius_and_opacity_and_depends_only_on_seed():
    g = blob(radius=0.5, opacity=0.1, count=2000)
    splats = g.splats()
    radii = splats.means.detach().norm(dim=1)
    assert radii.max() <= 0.5
    # The median of a distribution that is uniform in the volume of the ball.
    assert radii.median() == pytest.approx(0.5 * 0.5 ** (1 / 3), rel=0.05)
    assert splats.opacities.mean().item() == pytest.approx(0.1, abs=1e-6)
    again = Gaussians.blob(GaussianConfig(radius=0.5, opacity=0.1, count=2000), seed=1)
    assert all(torch.equal(g.params[k], again.params[k]) for k in g.params)
    other = Gaussians.blob(GaussianConfig(radius=0.5, opacity=0.1, count=2000), seed=2)
    assert not torch.equal(g.params["means"], other.params["means"])


def test_optimization_fits_target_images():
    cameras = ring(4, 32)
    with torch.no_grad():
        target = blob(radius=0.3, opacity=0.9).render(cameras, torch.ones(3)).rgb
    g = blob()
    with torch.no_grad():
        before = (g.render(cameras, torch.ones(3)).rgb - target).square().mean().item()
    assert fit(g, cameras, target, 60) < 0.1 * before


def regularizer_alone(name: str, change, **extra) -> tuple[float, float]:
    """Return the regularizer on a blob and on a blob modified by `change`, other weights zero."""
    off = {"outside": 0.0, "big": 0.0, "needle": 0.0}
    config = RegularizerConfig(**{**off, **extra})
    values = []
    for modified in (False, True):
        g = blob(regularizers=config)
        if modified:
            with torch.no_grad():
                change(g.params)
        out = g.render(ring(2, 32), torch.ones(3))
        values.append(g.regularizer(out, 0.5).item())
    return values[0], values[1]


@pytest.mark.parametrize(
    "extra,change",
    [
        ({"outside": 1.0}, lambda p: p["means"].mul_(4)),
        ({"big": 1.0}, lambda p: p["scales"].add_(2)),
        ({"needle": 1.0}, lambda p: p["scales"][:, 0].add_(3)),
        ({"sparsity": Ramp(1.0, 1.0)}, lambda p: p["opacities"].add_(3)),
    ],
)
def test_each_regularizer_penalizes_its_defect(extra, change):
    before, after = regularizer_alone(next(iter(extra)), change, **extra)
    assert after > before + 1e-4


def test_opaque_is_lower_for_empty_or_solid_images():
    def value(opacity: float) -> float:
        g = blob(
            opacity=opacity,
            regularizers=RegularizerConfig(outside=0, big=0, needle=0, opaque=Ramp(1.0, 1.0)),
        )
        return g.regularizer(g.render(ring(2, 32), torch.ones(3)), 0.5).item()

    assert value(0.1) > value(0.0001) and value(0.1) > value(0.99)


def test_restored_state_continues_bit_for_bit():
    cameras, target = ring(2, 16), torch.zeros(2, 16, 16, 3)
    one = blob()
    fit(one, cameras, target, 3)
    two = Gaussians.from_state({k: v.clone() for k, v in one.state_tensors().items()}, one.config)
    fit(one, cameras, target, 3)
    fit(two, cameras, target, 3)
    assert all(torch.equal(one.params[k], two.params[k]) for k in one.params)


def densified(
    config: DensifyConfig, steps: int, resume_at: int | None = None
) -> tuple[Gaussians, list[int]]:
    """Optimize and densify a blob for `steps`; return it and the number of splats in each step.

    At `resume_at`, the state is saved and restored.
    """
    cameras, target = (
        ring(4, 32),
        torch.rand(4, 32, 32, 3, generator=torch.Generator().manual_seed(0)),
    )
    g, d, counts, before = blob(), Densifier(config), [], 0.0
    for step in range(steps):
        if step == resume_at:
            tensors = {k: v.clone() for k, v in (g.state_tensors() | d.state_tensors()).items()}
            g, d = Gaussians.from_state(tensors, g.config), Densifier(config)
            d.load_state(tensors)
        out = g.render(cameras, torch.ones(3))
        (out.rgb - target).square().mean().backward()
        now = step / steps
        g.optimize(now, now - before)
        d.after_backward(g.params, g.optimizers, out.aux, before, now, 0, step)
        counts.append(len(g))
        before = now
    return g, counts


def distance_traveled(steps: int, rates: RateConfig) -> float:
    """Return how far splats move under a constant gradient."""
    g = blob(rates=rates)
    start = g.params["means"].detach().clone()
    for step in range(steps):
        g.params["means"].sum().backward()
        g.optimize(step / steps, 1 / steps)
    return (start - g.params["means"]).mean().item()


def test_rates_for_given_iterations_travel_equally_far_in_any_number_of_iterations():
    rates = RateConfig(means=Ramp(0.01, 0.001, "exp"), iterations=100)
    distances = [distance_traveled(steps, rates) for steps in (50, 100, 400)]
    assert distances == pytest.approx([distances[1]] * 3, rel=0.05) and distances[1] > 0.3
    # A tenth of the iterations would need ten times the rate, but the factor is limited to four.
    assert distance_traveled(10, rates) == pytest.approx(0.4 * distances[1], rel=0.2)
    plain = RateConfig(means=Ramp(0.01, 0.001, "exp"))
    assert distance_traveled(200, plain) == pytest.approx(
        2 * distance_traveled(100, plain), rel=0.05
    )


def test_splats_grow_by_the_chosen_share_up_to_max_count_and_until_stop():
    config = DensifyConfig(
        start=0.2, stop=0.8, rounds=6, grow_share=0.2, max_count=300, prune_opacity=1e-6
    )
    _, counts = densified(config, 40)
    assert counts[7] == 200 and counts[8] == 240  # the first round is at progress 0.2
    assert max(counts) == 300
    assert counts[-1] == counts[32]


def pruned(faint: slice, huge: slice):
    """Prune 200 splats, with the slice `faint` nearly transparent and the slice `huge` too big."""
    config = DensifyConfig(
        start=0.5, stop=0.9, rounds=2, grow_share=0.0, prune_opacity=0.02, prune_above=0.3
    )
    g, d = blob(), Densifier(config)
    with torch.no_grad():
        g.params["opacities"][faint] = -8.0
        g.params["scales"][huge] = math.log(0.5)
    out = g.render(ring(4, 32), torch.ones(3))
    out.rgb.mean().backward()
    g.optimize(0.5, 0.01)
    assert d.after_backward(g.params, g.optimizers, out.aux, 0.49, 0.5, 0, 0)
    return g


def test_faint_and_huge_splats_are_pruned():
    assert len(pruned(faint=slice(50), huge=slice(50, 60))) == 140


def test_pruning_faint_and_huge_splats_never_removes_all():
    assert len(pruned(faint=slice(130), huge=slice(130, None))) >= 60


def test_opacities_are_reset_once_when_due():
    config = DensifyConfig(start=2.0, stop=3.0, prune_opacity=0.02, resets=(0.5,))
    cameras = ring(2, 32)
    g, d = blob(opacity=0.8), Densifier(config)
    maxima = []
    for before, now in ((0.0, 0.4), (0.4, 0.5), (0.5, 0.6)):
        out = g.render(cameras, torch.ones(3))
        (out.rgb - 0.0).mean().backward()
        g.optimize(now, now - before)
        d.after_backward(g.params, g.optimizers, out.aux, before, now, 0, 0)
        maxima.append(g.splats().opacities.max().item())
    assert maxima[0] > 0.7 and maxima[1] == pytest.approx(0.04, abs=1e-3) and maxima[2] < 0.06


def test_restored_run_with_densification_equals_uninterrupted_run():
    config = DensifyConfig(start=0.1, stop=0.95, rounds=6, grow_share=0.2, max_count=1000)
    uninterrupted, counts = densified(config, 10)
    restored, counts_again = densified(config, 10, resume_at=5)
    assert counts == counts_again and counts[-1] > counts[4] > counts[0]
    assert all(torch.equal(uninterrupted.params[k], restored.params[k]) for k in restored.params)


def test_densification_leaves_global_generator_unchanged():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    densified(DensifyConfig(start=0.1, stop=0.95, rounds=3), 5)
    assert torch.equal(torch.rand(3), expected)
