"""Each scaling turns its kind of network into the same denoiser."""

import math
from types import SimpleNamespace

import pytest
import torch

from gs3d.priors.loading.schedulers import scaling_of
from gs3d.priors.network import Network
from gs3d.priors.scalings import Edm, Epsilon, Flow, Velocity, VpTable

TABLE = VpTable.scaled_linear()
MEAN, STD = 0.3, 0.7
SIGMAS = (0.03, 0.2, 1.0, 4.0, 14.0)


def posterior(x, a, b):
    """E[data | x] and E[noise | x] for x = a·data + b·noise.

    data ~ N(MEAN, STD²), noise ~ N(0, 1).
    """
    total = (a * STD) ** 2 + b**2
    centered = x - a * MEAN
    return MEAN + a * STD**2 / total * centered, b / total * centered


def sigma_at(index):
    """σ of the table at a fractional index, log-linear."""
    logs, low = TABLE.sigmas.log(), index.long().clamp(max=len(TABLE.sigmas) - 2)
    return (logs[low] + (logs[low + 1] - logs[low]) * (index - low)).exp().float()


def vp(time):
    """Factors of data and noise in a variance-preserving process at a table index."""
    sigma = sigma_at(time)[:, None, None, None]
    return 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()


def epsilon_net(x, time):
    return posterior(x, *vp(time))[1]


def velocity_net(x, time):
    a, b = vp(time)
    data, noise = posterior(x, a, b)
    return a * noise - b * data


def flow_net(x, time):
    t = time[:, None, None, None] / 1000
    data, noise = posterior(x, 1 - t, t)
    return noise - data


def edm_net(x, time):
    """Target F of Karras et al. 2022 at σ = exp(4·time), from its definition."""
    sigma, sd = (4 * time).exp()[:, None, None, None], 0.5
    total = (sigma**2 + sd**2).sqrt()
    z = x * total
    data, _ = posterior(z, torch.ones_like(sigma), sigma)
    return (data - sd**2 / total**2 * z) / (sigma * sd / total)


NETS = {
    Epsilon(TABLE): epsilon_net,
    Velocity(TABLE): velocity_net,
    Flow(): flow_net,
    Edm(0.5): edm_net,
}


def as_unet(net):
    """`net` with the interface of a diffusers U-Net."""

    def call(x, time, text, return_dict):
        return (net(x, time),)

    call.dtype, call.config = torch.float32, {}
    return call


@pytest.mark.parametrize("scaling", NETS, ids=lambda s: type(s).__name__)
def test_gaussian_data_gives_closed_form_denoiser(scaling):
    z = torch.randn(len(SIGMAS), 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    sigma = torch.tensor(SIGMAS)
    variance = sigma[:, None, None, None] ** 2
    expected = MEAN + STD**2 / (STD**2 + variance) * (z - MEAN)
    got = Network(as_unet(NETS[scaling]), scaling).denoise(z, sigma, torch.zeros(len(SIGMAS), 1, 1))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=2e-4, atol=2e-4)


def test_table_matches_diffusers():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    a = scheduler.alphas_cumprod.double()
    torch.testing.assert_close(TABLE.sigmas, ((1 - a) / a).sqrt(), rtol=1e-4, atol=0)


def test_table_round_trip():
    """t → σ → index: t = 0.7 is step 700 of 1000, which is entry 699."""
    for t in (0.001, 0.02, 0.1, 0.5, 0.7004, 1.0):
        assert float(TABLE.index(torch.tensor([TABLE.sigma(t)]))) == pytest.approx(
            1000 * t - 1, abs=2e-3
        )


def test_table_clamps_outside_its_range():
    assert TABLE.sigma(-1.0) == TABLE.sigma(0.0) == pytest.approx(float(TABLE.sigmas[0]))
    assert TABLE.index(torch.tensor([1e-4, 1e4])).tolist() == [0.0, 999.0]


def test_sigma_increases_with_t():
    for scaling in NETS:
        values = [scaling.sigma(t) for t in (0.0, 0.02, 0.1, 0.5, 0.9, 0.98, 1.0)]
        assert values == sorted(values) and all(math.isfinite(v) for v in values)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoise_matches_ddim_step_of_diffusers(prediction_type):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", prediction_type=prediction_type, clip_sample=False
    )
    scheduler.set_timesteps(1000)
    scaling = scaling_of(scheduler)
    assert type(scaling) is (Velocity if prediction_type == "v_prediction" else Epsilon)
    gen = torch.Generator().manual_seed(1)
    x, out = torch.randn(2, 1, 4, 8, 8, generator=gen)
    for step in (5, 400, 950):
        sigma = scaling.table.sigmas[step : step + 1].float()
        seen = {}

        def unet(x_in, time, text, return_dict, seen=seen):
            seen.update(x=x_in, time=time)
            return (out,)

        unet.dtype, unet.config = torch.float32, {}
        got = Network(unet, scaling).denoise(x, sigma, torch.zeros(1, 1, 1))
        assert float(seen["time"]) == pytest.approx(step, abs=1e-2)
        expected = scheduler.step(out, step, seen["x"]).pred_original_sample
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * (1 + float(sigma)))


def test_edm_sigma_depends_on_data_spread_only():
    assert (
        Edm(0.1).sigma(0.7)
        == Edm(0.5).sigma(0.7)
        == pytest.approx(0.5 * VpTable.scaled_linear().sigma(0.7))
    )


def test_edm_matches_diffusers_scheduler():
    from diffusers import EDMEulerScheduler

    scheduler = EDMEulerScheduler(sigma_data=0.5)
    scaling = scaling_of(scheduler)
    assert scaling == Edm(0.5)
    x, out = torch.randn(2, 1, 3, 4, 4)
    for value in (0.02, 0.5, 10.0):
        sigma = torch.tensor([value])
        assert float(scaling.c_noise(sigma)) == pytest.approx(
            float(scheduler.precondition_noise(sigma)), rel=1e-5
        )
        torch.testing.assert_close(scaling.c_in(sigma) * x, scheduler.precondition_inputs(x, sigma))
        torch.testing.assert_close(
            scaling.c_skip(sigma) * x + scaling.c_out(sigma) * out,
            scheduler.precondition_outputs(x, out, sigma),
        )


def test_flow_scheduler():
    from diffusers import FlowMatchEulerDiscreteScheduler

    assert scaling_of(FlowMatchEulerDiscreteScheduler(shift=3.0)) == Flow(1000.0)


def test_unsupported_scheduler_is_refused():
    from gs3d.core.errors import UserError

    class LCMLike:
        config = {"prediction_type": "sample"}

    with pytest.raises(UserError) as error:
        scaling_of(LCMLike(), "folder")
    assert str(error.value) == (
        "prior folder: its scheduler is a LCMLike with prediction_type sample; expected "
        "epsilon or v_prediction with betas, EDM with epsilon, or flow matching; use another model"
    )


def test_zero_terminal_snr_is_refused():
    from gs3d.core.errors import UserError

    scheduler = SimpleNamespace(
        config={"rescale_betas_zero_snr": True}, alphas_cumprod=torch.linspace(0.99, 0, 10)
    )
    with pytest.raises(UserError, match="zero signal"):
        scaling_of(scheduler)
