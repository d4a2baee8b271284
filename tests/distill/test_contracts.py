"""Prior and guidance objects with a wrong member get one line that names it."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from gs3d.core.errors import UserError
from gs3d.distill.contracts import check_guidance, check_prior, check_result
from gs3d.guidance import Cds, GuidanceOut

Z0 = torch.zeros(4, 3, 8, 8)


class GrayPrior:
    """A prior that keeps the contract. A test replaces one method by a wrong one."""

    name = "gray"
    image_size = 8
    latent_shape = (3, 8, 8)
    views = 4
    device = torch.device("cpu")

    def sigma(self, t):
        return 10.0 * t

    def embed(self, prompts):
        return torch.rand(len(prompts), 5, 2)

    def encode(self, rgb):
        return functional.interpolate(rgb.permute(0, 3, 1, 2), (8, 8)) + torch.rand(())

    def denoise(self, z, sigma, text):
        assert sigma.shape == (len(z),) and text.shape == (len(z), 5, 2)
        return torch.rand_like(z)


def one_line(caught) -> str:
    text = caught.value.for_command_line
    assert "\n" not in text
    return text


def test_right_prior_passes_and_random_numbers_stay():
    before = torch.get_rng_state()
    check_prior(GrayPrior(), "a red ball")
    assert torch.equal(torch.get_rng_state(), before)


def test_cameras_reach_a_prior_that_takes_them():
    prior = GrayPrior()
    prior.with_cameras = lambda text, cameras: text + cameras.centers[:, None, :2]
    texts = []
    prior.denoise = lambda z, s, text: texts.append(text) or z
    check_prior(prior, "a red ball")
    moved = texts[0][:, 0] - texts[0][0, 0]
    assert texts[0].shape == (8, 5, 2) and moved[1:].abs().sum(dim=1).min() > 0.1


@pytest.mark.parametrize("sigma", [torch.tensor(1.0), torch.tensor(1.0).numpy(), np.float32(1)])
def test_noise_level_may_be_any_scalar(sigma):
    prior = GrayPrior()
    prior.sigma = lambda t: sigma
    check_prior(prior, "a red ball")


@pytest.mark.parametrize(
    "member,wrong,message",
    [
        (
            "embed",
            lambda p: torch.zeros(1, 7),
            "a tensor [1, 7] of float32 on cpu; expected a tensor [1, L",
        ),
        ("embed", lambda p: torch.zeros(2, 7, 3), "a tensor [2, 7, 3] of float32 on cpu; expected"),
        ("embed", lambda p: [[0.0]], "an object of type list; expected"),
        ("sigma", lambda t: torch.zeros(4), "a tensor [4] of float32 on cpu; expected a number"),
        ("sigma", lambda t: None, "None; expected a number"),
        (
            "encode",
            lambda rgb: rgb,
            "a tensor [4, 8, 8, 3] of float32 on cpu; expected a tensor [4,",
        ),
        ("encode", lambda rgb: None, "None; expected a tensor [4, 3, 8, 8] of float32"),
        (
            "encode",
            lambda rgb: rgb.permute(0, 3, 1, 2).double(),
            "a tensor [4, 3, 8, 8] of float64 on cpu; expected a tensor",
        ),
        (
            "encode",
            lambda rgb: rgb.detach().permute(0, 3, 1, 2),
            "no gradient; expected a differentiable function of the images",
        ),
        # Broadcasting would hide this one.
        (
            "denoise",
            lambda z, s, t: z[:1],
            "a tensor [1, 3, 8, 8] of float32 on cpu; expected a tensor",
        ),
        (
            "denoise",
            lambda z, s, t: (z,),
            "an object of type tuple; expected a tensor [8, 3, 8, 8]",
        ),
        ("with_cameras", lambda t, c: None, "None; expected a tensor [8, L, E] for 8 views"),
        (
            "with_cameras",
            lambda t, c: t[:4],
            "a tensor [4, 5, 2] of float32 on cpu; expected a tensor [8, L, E] for 8 views",
        ),
    ],
)
def test_wrong_result_of_a_prior_names_the_member(member, wrong, message):
    prior = GrayPrior()
    setattr(prior, member, wrong)
    with pytest.raises(UserError) as caught:
        check_prior(prior, "a red ball")
    assert one_line(caught).startswith(f"--prior: GrayPrior.{member} returned {message}")


class KeywordOnly:
    def __call__(self, prior, condition, z0, progress, *, seed, step):
        return GuidanceOut(z0)


def any_arguments(*args, **kwargs):
    return GuidanceOut(Z0)


def test_guidance_by_name_function_and_object():
    for guidance in ("cds", Cds(), any_arguments):
        check_guidance(guidance)


@pytest.mark.parametrize(
    "guidance,message",
    [
        ("cdss", "--guidance cdss: expected one of cds, sds"),
        ("vqzx", "--guidance vqzx: expected one of cds, sds"),
        (3, "describes, got int"),
        (KeywordOnly, "got the class KeywordOnly; create an object of it"),
        (
            KeywordOnly(),
            "KeywordOnly cannot be called with the six positional arguments "
            "(prior, condition, z0, progress, seed, step): too many positional arguments",
        ),
        (lambda prior, z0: None, "<lambda> cannot be called with the six positional arguments"),
    ],
)
def test_guidance_that_cannot_be_called_is_refused(guidance, message):
    with pytest.raises(UserError) as caught:
        check_guidance(guidance)
    assert message in one_line(caught)


@pytest.mark.parametrize(
    "result,message",
    [
        (None, "returned None; expected a gs3d.GuidanceOut with grad [4, 3, 8, 8]"),
        (
            Z0,
            "returned a tensor [4, 3, 8, 8] of float32 on cpu; expected a gs3d.GuidanceOut",
        ),
        (
            GuidanceOut(Z0[:1]),
            "returned as grad a tensor [1, 3, 8, 8] of float32 on cpu; expected a tensor [4",
        ),
        (
            GuidanceOut(Z0.long()),
            "returned as grad a tensor [4, 3, 8, 8] of int64 on cpu; expected",
        ),
        (GuidanceOut(None), "returned as grad None; expected a tensor [4, 3, 8, 8] of float32"),
        (GuidanceOut(Z0, log=None), "returned as log None; expected a dict of numbers"),
        (
            GuidanceOut(Z0, log={"t": Z0}),
            "returned 't': a tensor [4, 3, 8, 8] of float32 on cpu in its log",
        ),
    ],
)
def test_wrong_result_of_a_guidance_is_named(result, message):
    check_result(KeywordOnly(), GuidanceOut(Z0, log={"t": 1, "cfg": 2.0}), Z0)
    with pytest.raises(UserError) as caught:
        check_result(KeywordOnly(), result, Z0)
    assert one_line(caught).startswith(f"--guidance: KeywordOnly {message}")
