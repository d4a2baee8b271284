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


def fitted(gaussians: Gaussians, cameras, target, steps: int) -> float:
    for step in range(steps):
        loss = (gaussians.render(cameras, torch.ones(3)).rgb - target).square().mean()
        loss.backward()
        gaussians.optimize(step / steps, 1 / steps)
    return loss.item()


def test_blob_is_a_ball_of_the_asked_radius_and_opacity_and_depends_on_the_seed_alone():
    g = blob(radius=0.5, opacity=0.1, count=2000)
    splats = g.splats()
    radii = splats.means.detach().norm(dim=1)
    assert radii.max() <= 0.5 and radii.median() == pytest.approx(
        0.5 * 0.5 ** (1 / 3), rel=0.05
    )  # uniform in volume
    assert splats.opacities.mean().item() == pytest.approx(0.1, abs=1e-6)
    again = Gaussians.blob(GaussianConfig(radius=0.5, opacity=0.1, count=2000), seed=1)
    assert all(torch.equal(g.params[k], again.params[k]) for k in g.params)
    other = Gaussians.blob(GaussianConfig(radius=0.5, opacity=0.1, count=2000), seed=2)
    assert not torch.equal(g.params["means"], other.params["means"])


def test_optimizing_towards_a_picture_reaches_it():
    cameras = ring(4, 32)
    with torch.no_grad():
        target = blob(radius=0.3, opacity=0.9).render(cameras, torch.ones(3)).rgb
    g = blob()
    with torch.no_grad():
        before = (g.render(cameras, torch.ones(3)).rgb - target).square().mean().item()
    assert fitted(g, cameras, target, 60) < 0.1 * before


def regularizer_alone(name: str, change, **extra) -> tuple[float, float]:
    """The regularizer's value on a plain blob and on one that `change` made worse, with all other weights zero."""
    off = {"outside": 0.0, "big": 0.0, "needle": 0.0}
    config = RegularizerConfig(**{**off, **extra})
    values = []
    for worse in (False, True):
        g = blob(regularizers=config)
        if worse:
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
def test_each_regularizer_punishes_what_it_is_for(extra, change):
    fine, worse = regularizer_alone(next(iter(extra)), change, **extra)
    assert worse > fine + 1e-4


def test_opaque_is_least_for_clear_or_solid_pictures():
    def value(opacity: float) -> float:
        g = blob(
            opacity=opacity,
            regularizers=RegularizerConfig(outside=0, big=0, needle=0, opaque=Ramp(1.0, 1.0)),
        )
        return g.regularizer(g.render(ring(2, 32), torch.ones(3)), 0.5).item()

    assert value(0.1) > value(0.0001) and value(0.1) > value(0.99)


def test_state_round_trip_continues_bit_for_bit():
    cameras, target = ring(2, 16), torch.zeros(2, 16, 16, 3)
    one = blob()
    fitted(one, cameras, target, 3)
    two = Gaussians.from_state({k: v.clone() for k, v in one.state_tensors().items()}, one.config)
    fitted(one, cameras, target, 3)
    fitted(two, cameras, target, 3)
    assert all(torch.equal(one.params[k], two.params[k]) for k in one.params)


def watched(
    config: DensifyConfig, steps: int, resume_at: int | None = None
) -> tuple[Gaussians, list[int]]:
    """A blob that is optimized and densified for `steps`; with `resume_at` its state goes through a dictionary there."""
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


def way(steps: int, rates: RateConfig) -> float:
    """How far splats travel under a gradient that always points the same way."""
    g = blob(rates=rates)
    start = g.params["means"].detach().clone()
    for step in range(steps):
        g.params["means"].sum().backward()
        g.optimize(step / steps, 1 / steps)
    return (start - g.params["means"]).mean().item()


def test_rates_meant_for_a_number_of_iterations_go_equally_far_in_any_number():
    rates = RateConfig(means=Ramp(0.01, 0.001, "exp"), iterations=100)
    ways = [way(steps, rates) for steps in (50, 100, 400)]
    assert ways == pytest.approx([ways[1]] * 3, rel=0.05) and ways[1] > 0.3
    assert way(10, rates) == pytest.approx(
        0.4 * ways[1], rel=0.2
    )  # a tenth of the iterations: four times the rate is the most
    plain = RateConfig(means=Ramp(0.01, 0.001, "exp"))
    assert way(200, plain) == pytest.approx(2 * way(100, plain), rel=0.05)


def test_growth_is_the_chosen_share_and_stops_at_the_cap_and_at_the_end():
    config = DensifyConfig(
        start=0.2, stop=0.8, rounds=6, grow_share=0.2, max_count=300, prune_opacity=1e-6
    )
    _, counts = watched(config, 40)
    assert counts[7] == 200 and counts[8] == 240  # the first round comes at progress 0.2
    assert max(counts) == 300
    assert counts[-1] == counts[32]


def pruned(faint: slice, huge: slice):
    """A cloud of 200 after a round of pruning, some of it made faint and some huge before."""
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


def test_faint_splats_and_huge_ones_together_are_never_all_of_the_cloud():
    assert len(pruned(faint=slice(130), huge=slice(130, None))) >= 60


def test_opacity_reset_happens_once_when_due():
    config = DensifyConfig(start=2.0, stop=3.0, prune_opacity=0.02, resets=(0.5,))
    cameras = ring(2, 32)
    g, d = blob(opacity=0.8), Densifier(config)
    tops = []
    for before, now in ((0.0, 0.4), (0.4, 0.5), (0.5, 0.6)):
        out = g.render(cameras, torch.ones(3))
        (out.rgb - 0.0).mean().backward()
        g.optimize(now, now - before)
        d.after_backward(g.params, g.optimizers, out.aux, before, now, 0, 0)
        tops.append(g.splats().opacities.max().item())
    assert tops[0] > 0.7 and tops[1] == pytest.approx(0.04, abs=1e-3) and tops[2] < 0.06


def test_ten_steps_equal_five_and_five_through_a_densify_step():
    config = DensifyConfig(start=0.1, stop=0.95, rounds=6, grow_share=0.2, max_count=1000)
    whole, counts = watched(config, 10)
    halves, counts_again = watched(config, 10, resume_at=5)
    assert counts == counts_again and counts[-1] > counts[4] > counts[0]
    assert all(torch.equal(whole.params[k], halves.params[k]) for k in whole.params)


def test_densifying_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    watched(DensifyConfig(start=0.1, stop=0.95, rounds=3), 5)
    assert torch.equal(torch.rand(3), expected)
