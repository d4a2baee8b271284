"""An object with only the required members of `Prior` drives prompts, guidance and a run."""

import pytest
import torch
import yaml
from torch.nn import functional

from gs3d.core.cameras import CameraConfig, ring, sample_cameras
from gs3d.core.rng import generator
from gs3d.core.views.words import VIEW_WORDS
from gs3d.guidance import Cds, Ism, Sdi, Sds
from gs3d.priors import Prior, ViewPrompts, describe
from gs3d.priors.sampler import sample
from gs3d.runs.execute import execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request

OPTIONAL = ("text", "free_text_encoder", "source", "network", "autoencoder", "decode")


class GrayPrior:
    """The required members only. All of its data is the gray image z0 = 0."""

    name = "gray"
    image_size = 8
    latent_shape = (3, 8, 8)
    views = 1
    device = torch.device("cpu")

    def sigma(self, t):
        return 10.0 * t

    def embed(self, prompts):
        return torch.tensor([float(len(prompt)) for prompt in prompts])[:, None, None]

    def encode(self, rgb):
        return functional.interpolate(rgb.permute(0, 3, 1, 2), (8, 8), mode="area") * 2 - 1

    def denoise(self, z, sigma, text):
        return torch.zeros_like(z)


def required_members():
    methods = {name for name, value in vars(Prior).items() if callable(value)}
    return {n for n in methods | set(Prior.__annotations__) if not n.startswith("_")}


def test_minimal_prior_has_required_members_only():
    assert required_members() == {n for n in vars(GrayPrior) if not n.startswith("_")}
    assert not required_members() & set(OPTIONAL)


@pytest.mark.parametrize("fixture", ["tiny_builtin", "tiny_sd"])
def test_loaded_priors_have_required_members(fixture, request):
    prior = request.getfixturevalue(fixture)
    assert all(hasattr(prior, name) for name in required_members())


def test_prompts_without_tokenizer():
    prompt = "a qzxj dragon " + "and a very long tail " * 40
    views = ViewPrompts.of(GrayPrior(), prompt)
    assert views.prompt == prompt.strip() and views.warnings == ()
    assert views.negative_prompt == "" and views.views == VIEW_WORDS
    front, back = views.at(ring(4, 8)).text[[0, 2], 0, 0].tolist()
    words = len(views.prompt) + len(",  view")
    assert (front, back) == (words + len("front"), words + len("back"))


def test_describe_object():
    facts = {"name": "gray", "source": "object", "weights_sha256": None, "license": None}
    assert describe(GrayPrior()) == facts
    prior = GrayPrior()
    prior.views = 4
    assert describe(prior) == facts | {"views": 4}


def test_describe_ignores_unrelated_source():
    prior = GrayPrior()
    prior.source = "my own model"
    assert describe(prior)["source"] == "object"


def gradient_of_bright_images(guidance, views: int) -> torch.Tensor:
    prior = GrayPrior()
    prior.views = views
    prompts = ViewPrompts.of(prior, "a gray wall")
    cameras = sample_cameras(CameraConfig(), 4, 0.5, generator(0, "cameras"), prior.views)
    rgb = torch.full((4, 16, 16, 3), 0.9, requires_grad=True)
    z0 = prior.encode(rgb)
    out = guidance(prior, prompts.at(cameras), z0, 0.5, seed=0, step=0)
    (z0 * out.grad).sum().backward()
    assert out.grad.shape == z0.shape
    return rgb.grad


@pytest.mark.parametrize("guidance", [Sds(), Sdi()], ids=["sds", "sdi"])
@pytest.mark.parametrize("views", [1, 4])
def test_guidance_moves_images_to_data(guidance, views):
    # Brighter than gray: descending the gradient makes the images darker.
    assert float(gradient_of_bright_images(guidance, views).mean()) > 1e-3


@pytest.mark.parametrize("guidance", [Cds(), Ism()], ids=["cds", "ism"])
def test_points_of_one_trajectory_agree_where_data_do_not_vary(guidance):
    # All points denoise to the one image there is, so there is no gradient, however wrong z0 is.
    assert float(gradient_of_bright_images(guidance, 1).abs().max()) < 1e-5


def test_sample_reaches_data():
    prior = GrayPrior()
    condition = ViewPrompts.of(prior, "a gray wall").at(ring(2, 8))
    noise = torch.randn(2, *prior.latent_shape, generator=torch.Generator().manual_seed(0))
    assert float(sample(prior, condition, noise, scale=3.0, steps=8).abs().max()) < 1e-4


def test_run_with_minimal_prior(tmp_path):
    (config := tmp_path / "small.yaml").write_text(
        "guidance: sds\nbatch: 4\ncameras: {resolution_px: {at: [0.0], values: [16]}}\n"
        "gaussians: {count: 100}\n"
    )
    request = Request(
        "a gray wall", steps=2, prior=GrayPrior(), out=tmp_path / "run", config=config, device="cpu"
    )
    result = execute(prepare(request))
    assert result.outcome == "finished" and not result.warnings
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prior"] == describe(GrayPrior())
