"""The prior of a tiny MVDream folder: D, cameras in the text, groups of views."""

import pytest
import torch

from gs3d.core import rng
from gs3d.core.cameras import CameraConfig, sample_cameras
from gs3d.core.rng import generator
from gs3d.priors import Condition, ViewPrompts, describe, guided, load, prompts
from gs3d.priors.loading.hub import needed_files
from gs3d.priors.loading.resolve import resolve
from gs3d.priors.mvdream.cameras import numbers_of
from gs3d.priors.mvdream.prior import MvDreamPrior
from gs3d.priors.mvdream.text import split
from tests.priors.mvdream.tiny import write_tiny_mvdream


def cameras_of(groups: int, seed: int = 0):
    return sample_cameras(CameraConfig(), 4 * groups, 0.5, generator(seed, "cameras"), 4)


@pytest.fixture
def inputs(tiny_mvdream):
    """Two groups: z [8, 4, 8, 8], σ [8], text [8, M, E] with cameras."""
    text = tiny_mvdream.embed(["a red car"] * 4 + ["a blue dog"] * 4)
    sigma = torch.tensor([2.0] * 4 + [0.7] * 4)
    return rng.normal((8, 4, 8, 8), 0, "z"), sigma, tiny_mvdream.with_cameras(text, cameras_of(2))


def changed(a, b):
    """Which views differ."""
    return ((a - b).abs().amax(dim=(1, 2, 3)) > 1e-5).tolist()


def test_members(tiny_mvdream, tiny_mvdream_folder):
    assert isinstance(tiny_mvdream, MvDreamPrior) and tiny_mvdream.views == 4
    assert (tiny_mvdream.image_size, tiny_mvdream.latent_shape) == (16, (4, 8, 8))
    # A run reads this before it loads anything.
    assert resolve(tiny_mvdream_folder).views == 4
    facts = describe(tiny_mvdream)
    assert facts["views"] == 4 and len(facts["weights_sha256"]) == 64


def test_denoise_is_the_prediction_of_a_step_of_the_scheduler(tiny_mvdream, tiny_mvdream_folder):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_pretrained(tiny_mvdream_folder / "scheduler")
    scheduler.set_timesteps(1000)
    noise, cameras = rng.normal((4, 4, 8, 8), 0, "noise"), cameras_of(1)
    states = split(tiny_mvdream.embed(["a red car"] * 4))[0]
    for t in (50, 400, 950):
        with torch.no_grad():
            output = tiny_mvdream.network.backbone(
                noise, torch.full((4,), float(t)), states, numbers_of(cameras), 4
            )
        expected = scheduler.step(output, t, noise).pred_original_sample
        alpha = scheduler.alphas_cumprod[t]
        sigma = ((1 - alpha) / alpha).sqrt().expand(4)
        text = tiny_mvdream.with_cameras(tiny_mvdream.embed(["a red car"] * 4), cameras)
        z = noise / alpha.sqrt()
        torch.testing.assert_close(
            tiny_mvdream.denoise(z, sigma, text), expected, rtol=1e-4, atol=1e-4
        )


def test_group_does_not_see_another(tiny_mvdream, inputs):
    z, sigma, text = inputs
    before = tiny_mvdream.denoise(z, sigma, text)
    moved = z.clone()
    moved[5] += 1
    assert changed(tiny_mvdream.denoise(moved, sigma, text), before) == [False] * 4 + [True] * 4
    for group in (slice(0, 4), slice(4, 8)):
        alone = tiny_mvdream.denoise(z[group], sigma[group], text[group])
        torch.testing.assert_close(alone, before[group], rtol=1e-4, atol=1e-5)


def test_permuted_views_give_permuted_results(tiny_mvdream, inputs):
    order = torch.tensor([3, 1, 0, 2, 5, 4, 7, 6])
    before = tiny_mvdream.denoise(*inputs)
    after = tiny_mvdream.denoise(*(a[order] for a in inputs))
    torch.testing.assert_close(after, before[order], rtol=1e-4, atol=1e-5)


def test_camera_counts(tiny_mvdream, inputs):
    z, sigma, text = inputs
    before = tiny_mvdream.denoise(z, sigma, text)
    other = tiny_mvdream.with_cameras(text, cameras_of(2, seed=1))
    assert changed(tiny_mvdream.denoise(z, sigma, other), before) == [True] * 8


def test_prompts_have_cameras_and_no_view_words(tiny_mvdream):
    views = ViewPrompts.of(tiny_mvdream, "a car")
    cameras = cameras_of(2)
    condition = views.at(cameras)
    for text, prompt in (
        (condition.text, "a car"),
        (condition.negative, prompts.NEGATIVE),
        (condition.empty, ""),
    ):
        states, numbers = split(text)
        torch.testing.assert_close(numbers, numbers_of(cameras))
        expected = split(tiny_mvdream.embed([prompt]))[0].expand(8, -1, -1)
        torch.testing.assert_close(states, expected)
    assert ViewPrompts.of(tiny_mvdream, "a car", negative="").at(cameras).empty is None


def test_guidance_keeps_groups(tiny_mvdream, inputs):
    z, _, text = inputs
    negative = tiny_mvdream.with_cameras(tiny_mvdream.embed([""] * 8), cameras_of(2))
    both = guided(tiny_mvdream, z, 1.0, Condition(text, negative), 3.0)
    group = slice(4, 8)
    alone = guided(tiny_mvdream, z[group], 1.0, Condition(text[group], negative[group]), 3.0)
    torch.testing.assert_close(both[group], alone, rtol=1e-4, atol=1e-4)


def test_batch_of_six_is_refused(tiny_mvdream, inputs):
    with pytest.raises(ValueError, match="expected a multiple of 4 views, got 6"):
        tiny_mvdream.denoise(*(a[:6] for a in inputs))


def test_several_noise_levels_in_a_group_are_refused(tiny_mvdream, inputs):
    z, sigma, text = inputs
    sigma = sigma.clone()
    sigma[6] = 0.5
    with pytest.raises(
        ValueError, match="one noise level for the 4 views of a group, got 0.7, 0.7, 0.5, 0.7"
    ):
        tiny_mvdream.denoise(z, sigma, text)


def test_text_without_cameras_is_refused(tiny_mvdream, inputs):
    z, sigma, _ = inputs
    with pytest.raises(ValueError, match="a text with the camera of each view; `with_cameras`"):
        tiny_mvdream.denoise(z, sigma, tiny_mvdream.embed(["a red car"] * 8))


def test_settings_beyond_those_of_the_published_file(tmp_path):
    """What newer versions may write: the sizes that have defaults, and half precision."""
    folder = write_tiny_mvdream(tmp_path / "model", variant="fp16", unet={"ip_dim": 0})
    assert load(folder, "cpu").views == 4


def test_two_rows_of_text_for_a_camera(tmp_path):
    """A text narrower than a camera."""
    narrow = {"hidden_size": 12, "projection_dim": 12}
    changes = {"unet": {"context_dim": 12}, "text_encoder": narrow}
    prior = load(write_tiny_mvdream(tmp_path / "model", **changes), "cpu")
    text = prior.embed(["a car"] * 4)
    assert text.shape == (4, 16 + 2, 12)
    z = rng.normal((4, 4, 8, 8), 0, "z")
    denoised = prior.denoise(z, torch.ones(4), prior.with_cameras(text, cameras_of(1)))
    assert denoised.shape == z.shape and denoised.isfinite().all()


def test_code_of_the_published_folder_is_not_downloaded():
    weights = ["unet/diffusion_pytorch_model.safetensors", "unet/config.json"]
    code = ["pipeline_mvdream.py", "mv_unet.py", "unet/mv_unet.py", "unet/model.bin"]
    assert needed_files([*weights, *code, "model_index.json"]) == [
        "model_index.json",
        *sorted(weights),
    ]
