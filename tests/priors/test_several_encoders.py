"""Stable Diffusion XL and 3.5 in tiny: every number against diffusers' own pipelines."""

import diffusers
import pytest
import torch
import yaml

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.priors import ViewPrompts, load
from gs3d.priors.base import Condition, guided
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading import components
from gs3d.priors.scalings import Epsilon, Flow
from gs3d.priors.text.packing import pack, unpack
from tests.priors.loading.helpers import write_tiny_autoencoder
from tests.priors.running import run
from tests.priors.tiny import write_tiny_sd3, write_tiny_xl

FAMILIES = ["tiny_xl", "tiny_sd3", "tiny_sd3_without_t5"]
PROMPTS = ["a red car, front view", "a blue dog"]
BOTH = pytest.mark.parametrize("family", FAMILIES)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


class Expected:
    """A tiny model in a pipeline of diffusers, called as the pipeline calls its parts."""

    def __init__(self, folder, family):
        self.is_xl = family == "tiny_xl"
        cls = "StableDiffusionXLPipeline" if self.is_xl else "StableDiffusion3Pipeline"
        # diffusers wants to be told so again.
        without = {"text_encoder_3": None, "tokenizer_3": None} if "without" in family else {}
        self.pipe = getattr(diffusers, cls).from_pretrained(folder, **without)
        self.pipe.set_progress_bar_config(disable=True)

    def embed(self, prompts, negative=None):
        """(states, negative states, pooled text, negative pooled text) of each prompt."""
        texts = (prompts,) if self.is_xl else (prompts,) * 3
        negative = None if negative is None else [negative] * len(prompts)
        with torch.no_grad():
            return self.pipe.encode_prompt(*texts, device="cpu", negative_prompt=negative)

    def network(self, x, time, states, pooled):
        with torch.no_grad():
            if not self.is_xl:
                return self.pipe.transformer(
                    x, encoder_hidden_states=states, pooled_projections=pooled, timestep=time
                ).sample
            sizes = self.pipe._get_add_time_ids(
                (16, 16),
                (0, 0),
                (16, 16),
                torch.float32,
                self.pipe.text_encoder_2.config.projection_dim,
            )
            added = {"text_embeds": pooled, "time_ids": sizes.repeat(len(x), 1)}
            return self.pipe.unet(
                x, time, encoder_hidden_states=states, added_cond_kwargs=added
            ).sample

    def levels(self):
        """Some noise levels σ of the scheduler."""
        s = self.pipe.scheduler
        s.set_timesteps(8)
        sigmas = s.sigmas[[1, 4, 6]]
        return sigmas if self.is_xl else sigmas / (1 - sigmas)

    def denoise(self, z, sigma, states, pooled):
        """D(z, σ): the scheduler's estimate of z0 at the noise level σ, one of `levels`."""
        s = self.pipe.scheduler
        s.set_timesteps(8)
        levels = s.sigmas if self.is_xl else s.sigmas / (1 - s.sigmas)
        index = int((levels[:-1] - sigma).abs().argmin())
        time = s.timesteps[index]
        if self.is_xl:
            out = self.network(s.scale_model_input(z, time), time, states, pooled)
            return s.step(out, time, z).pred_original_sample
        # The last step of this scheduler, to σ = 0, ends at its estimate of z0.
        x = z / (1 + sigma)
        out = self.network(x, time.expand(len(z)), states, pooled)
        s.sigmas[index + 1] = 0
        s._step_index = None
        return s.step(out, time, x).prev_sample


@pytest.fixture(scope="module")
def folders(request):
    return {f: request.getfixturevalue(f"{f}_folder") for f in FAMILIES}


@pytest.fixture(scope="module")
def priors(folders):
    """Loaded models on the CPU. Shared: do not free their text encoders."""
    return {family: load(folder, "cpu") for family, folder in folders.items()}


@pytest.fixture(scope="module")
def expected(folders):
    return {family: Expected(folder, family) for family, folder in folders.items()}


@BOTH
def test_shapes_and_kind(priors, family):
    prior = priors[family]
    channels = 4 if family == "tiny_xl" else 16
    assert isinstance(prior, LatentPrior) and prior.views == 1
    assert (prior.image_size, prior.latent_shape) == (16, (channels, 8, 8))
    assert type(prior.network.scaling) is (Epsilon if family == "tiny_xl" else Flow)
    shape = (2, 16 + 1, 40) if family == "tiny_xl" else (2, 16 + 256 + 1, 48)
    text = prior.embed(PROMPTS)
    assert text.shape == shape and text.dtype == torch.float32


@BOTH
def test_embeddings_are_those_of_the_pipeline(priors, expected, family):
    prior = priors[family]
    states, negative, pooled, negative_pooled = expected[family].embed(PROMPTS, "ugly, red")
    got = unpack(prior.embed(PROMPTS), prior.text.pooled_width)
    torch.testing.assert_close(got, (states, pooled), **CLOSE)
    got = unpack(prior.embed(["ugly, red"] * 2), prior.text.pooled_width)
    torch.testing.assert_close(got, (negative, negative_pooled), **CLOSE)


@BOTH
def test_estimates_are_those_of_the_scheduler(priors, expected, family):
    prior, other = priors[family], expected[family]
    z, (states, _, pooled, _) = rng.normal((2, *prior.latent_shape), 0, "z"), other.embed(PROMPTS)
    text = prior.embed(PROMPTS)
    for sigma in other.levels():
        noisy = z * (1 + sigma)
        got = prior.denoise(noisy, sigma.expand(2), text)
        assert got.dtype == torch.float32 and not torch.allclose(got, noisy, atol=1e-2)
        torch.testing.assert_close(got, other.denoise(noisy, sigma, states, pooled), **CLOSE)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_estimates_do_not_depend_on_the_shift_of_the_schedule(
    priors, expected, tmp_path, capfd, shift
):
    prior = load(write_tiny_sd3(tmp_path / "model", scheduler={"shift": shift}), "cpu")
    z, text = rng.normal((1, 16, 8, 8), 0, "z"), priors["tiny_sd3"].embed(["a car"])
    sigma = torch.tensor([1.7])
    got = prior.denoise(z, sigma, text)
    torch.testing.assert_close(got, priors["tiny_sd3"].denoise(z, sigma, text))


@BOTH
def test_guidance_as_in_the_pipeline(priors, expected, family):
    prior, other = priors[family], expected[family]
    z, sigma = rng.normal((2, *prior.latent_shape), 0, "z"), other.levels()[1]
    states, negative, pooled, negative_pooled = other.embed(PROMPTS, "ugly")
    away = other.denoise(z, sigma, negative, negative_pooled)
    toward = other.denoise(z, sigma, states, pooled)
    condition = Condition(prior.embed(PROMPTS), prior.embed(["ugly"] * 2))
    got = guided(prior, z, float(sigma), condition, 7.5)
    torch.testing.assert_close(got, away + 7.5 * (toward - away), rtol=1e-3, atol=1e-3)


@BOTH
def test_blends_of_prompts(priors, expected, family):
    """A weighted mean of texts is the text of the weighted means of states and of pooled texts."""
    prior, other = priors[family], expected[family]
    weights = torch.tensor([0.3, 0.7])
    states, _, pooled, _ = other.embed(PROMPTS)
    states, pooled = (torch.einsum("p,p...->...", weights, x)[None] for x in (states, pooled))
    blend = torch.einsum("p,ple->le", weights, prior.embed(PROMPTS))[None]
    z, sigma = rng.normal((1, *prior.latent_shape), 0, "z"), other.levels()[1]
    got = prior.denoise(z, sigma.expand(1), blend)
    torch.testing.assert_close(got, other.denoise(z, sigma, states, pooled), **CLOSE)


@BOTH
def test_each_image_has_its_own_text(priors, family):
    prior = priors[family]
    z, sigma = rng.normal((2, *prior.latent_shape), 0, "z"), torch.tensor([0.3, 4.0])
    text = prior.embed(PROMPTS)
    both = prior.denoise(z, sigma, text)
    for i in range(2):
        one = prior.denoise(z[i : i + 1], sigma[i : i + 1], text[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], one, **CLOSE)


@pytest.mark.parametrize("width", [3, 5, 10, 12])
def test_packing(width):
    states, pooled = torch.randn(2, 3, 5), torch.randn(2, width)
    text = pack(states, pooled)
    assert text.shape == (2, 3 + -(-width // 5), 5)
    assert all(map(torch.equal, unpack(text, width), (states, pooled)))


@pytest.mark.parametrize("zeroes", [True, False])
def test_the_empty_prompt_of_xl(tmp_path, zeroes):
    prior = load(folder := write_tiny_xl(tmp_path / "model", zeroes), "cpu")
    states, negative, pooled, negative_pooled = Expected(folder, "tiny_xl").embed(["a car"])
    text = prior.embed(["", "a car"])
    torch.testing.assert_close(text[:1], pack(negative, negative_pooled), **CLOSE)
    torch.testing.assert_close(text[1:], pack(states, pooled), **CLOSE)
    assert bool((text[0] == 0).all()) == zeroes


def test_the_empty_prompt_of_sd3_is_read(priors, expected):
    _, negative, _, pooled = expected["tiny_sd3"].embed(["a car"])
    got = unpack(priors["tiny_sd3"].embed([""]), 32)
    torch.testing.assert_close(got, (negative, pooled), **CLOSE)
    assert negative.abs().max() > 0.1


def test_zeros_take_the_place_of_t5(priors):
    states, _ = unpack(priors["tiny_sd3_without_t5"].embed(["a red car"]), 32)
    assert not states[:, 16:].any() and states[:, :16].abs().max() > 0.1
    assert not states[:, :, 40:].any()  # beside the states of the two CLIPs
    with_t5, _ = unpack(priors["tiny_sd3"].embed(["a red car"]), 32)
    assert with_t5[:, 16:].abs().max() > 0.1
    torch.testing.assert_close(with_t5[:, :16], states[:, :16])


@BOTH
def test_images_and_latents(priors, expected, family):
    prior, vae = priors[family], expected[family].pipe.vae
    rgb = torch.rand(2, 16, 16, 3, generator=rng.generator(0, "pictures"), requires_grad=True)
    z = prior.encode(rgb)
    mean = vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latent_dist.mean
    shift = vae.config.shift_factor or 0.0
    torch.testing.assert_close(z, (mean - shift) * vae.config.scaling_factor)
    assert (shift == 0.0) == (family == "tiny_xl")
    z.square().sum().backward()
    assert float((rgb.grad != 0).float().mean()) > 0.99
    with torch.no_grad():
        image = vae.decode(z / vae.config.scaling_factor + shift).sample
    expected_rgb = ((image + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(prior.decode(z), expected_rgb, **CLOSE)


@BOTH
def test_free_releases_all_encoders(folders, family):
    import gc
    import weakref

    prior = load(folders[family], "cpu")
    text = prior.embed(PROMPTS)
    models = [weakref.ref(encoder.model) for encoder in prior.text.encoders]
    assert len(models) == (3 if family == "tiny_sd3" else 2)
    prior.free_text_encoder()
    gc.collect()
    assert prior.text.model is None
    assert all(model() is None for model in models)
    with pytest.raises(RuntimeError, match="freed by free_text_encoder"):
        prior.embed(PROMPTS)
    z = rng.normal((2, *prior.latent_shape), 0, "z")
    assert prior.denoise(z, torch.ones(2), text).isfinite().all()
    assert prior.text.tokenizer("red").input_ids and prior.text.max_tokens == 16


@pytest.mark.parametrize("write", [write_tiny_xl, write_tiny_sd3])
@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
def test_prompts_are_as_long_as_the_shortest_encoder_reads(tmp_path, write, part):
    prior = load(write(tmp_path / "model", **{part: {"max_position_embeddings": 12}}), "cpu")
    assert prior.text.max_tokens == 12
    views = ViewPrompts.of(prior, "a red c r e d v i e w x y z")
    assert len(views.warnings) == 1 and "too long for the prior" in views.warnings[0]
    assert len(prior.text.tokenizer(f"{views.prompt}, front view").input_ids) <= 12
    rows = 12 + 1 + (256 if write is write_tiny_sd3 else 0)
    assert views.at(ring(4, 8)).text.shape[:2] == (4, rows)


@BOTH
def test_blended_view_words(priors, family):
    prior = priors[family]
    views = ViewPrompts.of(prior, "a red car", blend=True)
    text = views.at(ring(8, 8)).text
    z = rng.normal((8, *prior.latent_shape), 0, "z")
    assert prior.denoise(z, torch.ones(8), text).isfinite().all()
    torch.testing.assert_close(text[0], views.directions[0])
    torch.testing.assert_close(text[1], (views.directions[0] + views.directions[1]) / 2)


@BOTH
def test_run(tmp_path, folders, family):
    result = run(tmp_path, folders[family])
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prior"]["name"] == str(folders[family])
    assert len(record["prior"]["weights_sha256"]) == 64


@BOTH
def test_replacement_autoencoder_and_checkpointing(folders, priors, tmp_path, family):
    rgb = torch.full((1, 16, 16, 3), 0.3)
    checkpointed = load(folders[family], "cpu", checkpoint_encoder=True)
    assert checkpointed.vae.encoder.gradient_checkpointing
    torch.testing.assert_close(checkpointed.encode(rgb), priors[family].encode(rgb))
    channels = priors[family].latent_shape[0]
    small = write_tiny_autoencoder(tmp_path / "small", channels)
    prior = load(folders[family], "cpu", vae=str(small))
    assert type(prior.vae).__name__ == "AutoencoderTiny" and prior.image_size == 16
    assert prior.encode(rgb).shape == (1, *prior.latent_shape)


@BOTH
def test_half_precision_with_float32_interface(folders, priors, family):
    """The precision of a GPU, here on the CPU: neither the autoencoder nor T5 in float16."""
    source = components.Source("half", folders[family])
    parts = components.read(source, torch.device("cpu"), torch.float16, torch.bfloat16)
    prior, exact = LatentPrior.of(parts), priors[family]
    kinds = [encoder.model.dtype for encoder in prior.text.encoders]
    assert kinds == [torch.float16] * 2 + [torch.bfloat16] * (family == "tiny_sd3")
    kind = torch.float16 if family == "tiny_xl" else torch.bfloat16
    assert (prior.network.backbone.dtype, prior.vae.dtype) == (kind, torch.bfloat16)
    z, sigma = rng.normal((2, *prior.latent_shape), 0, "z"), torch.tensor([0.1, 10.0])
    got = prior.denoise(z, sigma, prior.embed(PROMPTS))
    want = exact.denoise(z, sigma, exact.embed(PROMPTS))
    assert got.dtype == torch.float32 and float((got - want).norm() / want.norm()) < 1e-2


@pytest.mark.parametrize("write", [write_tiny_xl, write_tiny_sd3])
def test_fp16_variant_alone_is_loaded(tmp_path, write):
    prior = load(write(tmp_path / "model", variant="fp16"), "cpu")
    assert prior.network.backbone.dtype == torch.float32
    assert prior.embed(["red"]).isfinite().all()


@BOTH
def test_loading_is_silent(folders, capfd, caplog, family):
    load(folders[family], "cpu")
    assert capfd.readouterr() == ("", "") and caplog.text == ""
