"""D of PixArt, DeepFloyd IF and FLUX.1 in tiny, against whole calls of diffusers' pipelines."""

import pytest
import torch

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.priors import ViewPrompts, load
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading import components
from gs3d.priors.pixel import PixelPrior
from gs3d.priors.scalings import Epsilon, Flow
from tests.priors.families.conftest import WRITERS
from tests.priors.families.pipelines import answer, pipeline_of, relative

NAMES = tuple(WRITERS)
EACH = pytest.mark.parametrize("name", NAMES)
# Of different length and case, so that the padding and lower case are tried.
PROMPTS = ["a Red Car, front view", "blue dog"]
TOLERANCE = 1e-4


def relative_norm(got, want):
    return float((got - want).norm() / want.norm())


@pytest.fixture(scope="module")
def priors(folders):
    """Loaded models on the CPU. Shared: do not free their text encoders."""
    return {name: load(folder, "cpu") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def pipelines(folders):
    return {name: pipeline_of(name, folder) for name, folder in folders.items()}


def noisy(prior, sigma):
    return rng.normal((2, *prior.latent_shape), 0, "z") * (1 + sigma)


@pytest.mark.parametrize(
    ("name", "kind", "scaling", "shape", "text"),
    [
        ("sigma", LatentPrior, Epsilon, (4, 8, 8), (300, 48 + 1)),
        ("alpha", LatentPrior, Epsilon, (4, 128, 128), (120, 48 + 1)),
        ("if", PixelPrior, Epsilon, (3, 16, 16), (77, 40)),
        ("dev", LatentPrior, Flow, (16, 64, 64), (512 + 1, 48)),
        ("schnell", LatentPrior, Flow, (16, 64, 64), (256 + 1, 48)),
    ],
)
def test_kind_and_shapes(priors, name, kind, scaling, shape, text):
    prior = priors[name]
    assert type(prior) is kind and type(prior.network.scaling) is scaling and prior.views == 1
    assert prior.latent_shape == shape
    assert prior.image_size == shape[1] * (1 if kind is PixelPrior else 2)
    embedded = prior.embed(PROMPTS)
    assert embedded.shape == (2, *text) and embedded.dtype == torch.float32


@EACH
@pytest.mark.parametrize("scale", [1.0, 4.5])
def test_estimates_are_those_of_the_pipeline(priors, pipelines, name, scale):
    prior, other = priors[name], pipelines[name]
    for level in other.levels:
        sigma = other.sigma(level)
        z = noisy(prior, sigma)
        got = answer(prior, z, sigma, PROMPTS, "Ugly, red", scale)
        assert got.dtype == torch.float32 and not torch.allclose(got, z, atol=1e-2)
        expected = other.denoise(z, level, PROMPTS, "Ugly, red", scale)
        assert relative(got, expected) < TOLERANCE, level


@EACH
def test_noise_levels(priors, pipelines, name):
    """σ at a share of the training's steps is that of the scheduler, unshifted."""
    prior = priors[name]
    if name in ("dev", "schnell"):
        assert [prior.sigma(t) for t in (0.2, 0.5, 0.9)] == pytest.approx([0.25, 1, 9])
    else:
        steps = [(t, prior.sigma((t + 1) / 1000)) for t in (0, 20, 500, 999)]
        for step, sigma in steps:
            assert sigma == pytest.approx(pipelines[name].sigma(step), rel=1e-3)


@EACH
def test_each_image_has_its_own_text_and_noise(priors, name):
    prior = priors[name]
    z, sigma = noisy(prior, 1.0), torch.tensor([0.3, 4.0])
    text = prior.embed(PROMPTS)
    both = prior.denoise(z, sigma, text)
    for i in range(2):
        one = prior.denoise(z[i : i + 1], sigma[i : i + 1], text[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["sigma", "alpha"])
def test_padding_is_not_attended_to(priors, name):
    prior = priors[name]
    text, z = prior.embed(PROMPTS), noisy(prior, 1.0)
    weights = text[..., -1]
    assert weights.sum(1).tolist() == [
        prior.text.encoders[0].length(prompt) for prompt in PROMPTS
    ] and set(weights.unique().tolist()) == {0.0, 1.0}
    assert not text[weights == 0].any()
    spoiled = text.clone()
    spoiled[..., :-1][weights == 0] = 100.0
    before = prior.denoise(z, torch.ones(2), text)
    torch.testing.assert_close(prior.denoise(z, torch.ones(2), spoiled), before)
    spoiled[..., -1][weights == 0] = 1.0
    assert not torch.allclose(prior.denoise(z, torch.ones(2), spoiled), before, atol=1e-3)


@pytest.mark.parametrize("name", ["sigma", "alpha"])
def test_a_blend_of_texts_of_different_length(priors, name):
    """A token of one of the texts alone counts for its share: attention to it is times w.

    Two copies of a token that have half the weight each are the token itself.
    """
    prior = priors[name]
    long, short = prior.embed(PROMPTS)
    count = int(short[:, -1].sum())
    blend = torch.stack([long, short]).mean(0)
    # By hand: the shared tokens are means, the others are those of the long text, twice at 1/4.
    twice = torch.zeros_like(blend)
    twice[:count] = blend[:count]
    rest = long[count : int(long[:, -1].sum())]
    assert len(rest) > 2
    for start in (count, count + len(rest)):
        twice[start : start + len(rest)] = rest / 4
    z = noisy(prior, 1.0)[:1]
    got, want = (prior.denoise(z, torch.ones(1), text[None]) for text in (blend, twice))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    for text in (long, short):
        other = prior.denoise(z, torch.ones(1), text[None])
        assert not torch.allclose(got, other, atol=1e-4)


@pytest.mark.parametrize("name", ["if", "dev", "schnell"])
def test_blends_are_means(priors, name):
    prior = priors[name]
    text, z = prior.embed(PROMPTS), noisy(prior, 1.0)[:1]
    near = text[0].lerp(text[1], 1e-4)[None]
    got, want = (prior.denoise(z, torch.ones(1), t) for t in (near, text[:1]))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


@EACH
def test_blended_view_words(priors, name):
    prior = priors[name]
    views = ViewPrompts.of(prior, "a red car", blend=True, perp_neg=0.5)
    condition = views.at(ring(8, 8))
    z = rng.normal((8, *prior.latent_shape), 0, "z")
    assert prior.denoise(z, torch.ones(8), condition.text).isfinite().all()
    torch.testing.assert_close(condition.text[0], views.directions[0])


def test_the_image_size_is_told_to_alpha_alone(priors):
    backbones = {name: priors[name].network.backbone for name in ("alpha", "sigma")}
    assert backbones["alpha"].use_additional_conditions
    assert not backbones["sigma"].use_additional_conditions
    network, z = priors["alpha"].network, noisy(priors["alpha"], 1.0)
    text = priors["alpha"].embed(PROMPTS)
    other = type(network)(network.backbone, network.scaling, network.predict, 512)
    got, want = (n.denoise(z, torch.ones(2), text) for n in (network, other))
    assert network.image_size == 256 and not torch.allclose(got, want, atol=1e-4)


def test_dev_is_told_no_guidance(priors, pipelines):
    """Another value is another image: the tiny network looks at it."""
    prior, other = priors["dev"], pipelines["dev"]
    z, sigma = noisy(prior, other.sigma(0.5)), other.sigma(0.5)
    seen = []
    embed = other.pipe.transformer.time_text_embed
    handle = embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    other.denoise(z, 0.5, PROMPTS)
    handle.remove()
    assert all((guidance == 1000).all() for guidance in seen) and seen
    own, mine = prior.network.backbone.time_text_embed, []
    handle = own.register_forward_pre_hook(lambda module, inputs: mine.append(inputs[1]))
    prior.denoise(z, torch.full((2,), sigma), prior.embed(PROMPTS))
    handle.remove()
    assert [guidance.tolist() for guidance in mine] == [[1000.0] * 2]


@EACH
def test_images(priors, pipelines, name):
    prior, pipe = priors[name], pipelines[name].pipe
    size = prior.image_size
    rgb = torch.rand(1, size, size, 3, generator=rng.generator(0, "rgb"), requires_grad=True)
    z = prior.encode(rgb)
    if name == "if":
        torch.testing.assert_close(z, 2 * rgb.permute(0, 3, 1, 2) - 1)
    else:
        mean = pipe.vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latent_dist.mean
        shift = pipe.vae.config.shift_factor or 0.0
        assert (shift > 0) == (name in ("dev", "schnell"))
        torch.testing.assert_close(z, (mean - shift) * pipe.vae.config.scaling_factor)
    z.square().sum().backward()
    assert float((rgb.grad != 0).float().mean()) > 0.99
    assert prior.decode(z.detach()).shape == rgb.shape


@EACH
def test_half_precision_with_float32_interface(folders, priors, name):
    """The precision of a GPU, here on the CPU: neither T5 nor FLUX.1 in float16."""
    source = components.Source("half", folders[name])
    parts = components.read(source, torch.device("cpu"), torch.float16, torch.bfloat16)
    prior = (PixelPrior if name == "if" else LatentPrior).of(parts)
    flux = name in ("dev", "schnell")
    kinds = [encoder.model.dtype for encoder in prior.text.encoders]
    assert kinds == [torch.float16] * flux + [torch.bfloat16]
    assert prior.network.backbone.dtype == (torch.bfloat16 if flux else torch.float16)
    z, sigma = noisy(prior, 1.0), torch.tensor([0.1, 10.0])
    exact = priors[name]
    got = prior.denoise(z, sigma, prior.embed(PROMPTS))
    want = exact.denoise(z, sigma, exact.embed(PROMPTS))
    # The network of FLUX.1 rounds its time to bfloat16, here 909.1 to 908.
    tolerance = 3e-2 if flux else 1e-2
    assert got.dtype == torch.float32 and relative_norm(got, want) < tolerance


@EACH
def test_loading_is_silent(folders, capfd, caplog, name):
    load(folders[name], "cpu")
    assert capfd.readouterr() == ("", "") and caplog.text == ""


@EACH
def test_free_releases_all_encoders(folders, name):
    prior = load(folders[name], "cpu")
    text = prior.embed(PROMPTS)
    prior.free_text_encoder()
    assert prior.text.model is None and not prior.text.encoders
    with pytest.raises(RuntimeError, match="freed by free_text_encoder"):
        prior.embed(PROMPTS)
    assert prior.denoise(noisy(prior, 1.0), torch.ones(2), text).isfinite().all()
