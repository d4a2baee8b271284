"""`LatentPrior` of a tiny untrained Stable Diffusion model folder."""

import json
import shutil
import sys

import pytest
import torch

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading import components
from gs3d.priors.loading.weights import weight_files
from gs3d.priors.scalings import Epsilon, Velocity


def nonzero_share(gradient: torch.Tensor) -> float:
    """Share of nonzero elements.

    A single element can be exactly 0 by rounding, on one processor and not on another.
    """
    return float((gradient != 0).float().mean())


def test_shapes(tiny_sd):
    assert isinstance(tiny_sd, LatentPrior)
    assert (tiny_sd.image_size, tiny_sd.latent_shape) == (16, (4, 8, 8))
    assert tiny_sd.embed(["a red car", ""]).shape == (2, 16, 16)
    assert tiny_sd.latent_scale == 0.18215 and tiny_sd.latent_shift == 0.0


@pytest.mark.parametrize("size", [8, 16, 64])
def test_encode_is_scaled_mean_and_differentiable(tiny_sd, size):
    rgb = torch.rand(2, size, size, 3, generator=rng.generator(0, "pictures"), requires_grad=True)
    z = tiny_sd.encode(rgb)
    assert z.shape == (2, 4, 8, 8) and z.dtype == torch.float32
    torch.testing.assert_close(z, tiny_sd.encode(rgb), rtol=0, atol=0)  # samples would differ
    if size == 16:
        expected = tiny_sd.vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latent_dist.mean * 0.18215
        torch.testing.assert_close(z, expected)
    z.square().sum().backward()
    assert rgb.grad.shape == rgb.shape and nonzero_share(rgb.grad) > 0.99


def test_encoder_checkpointing_keeps_gradient(tiny_sd, tiny_sd_folder):
    checkpointed = load(tiny_sd_folder, "cpu", checkpoint_encoder=True)
    assert checkpointed.vae.encoder.gradient_checkpointing
    assert not tiny_sd.vae.encoder.gradient_checkpointing
    gradients = []
    for prior in (tiny_sd, checkpointed):
        rgb = torch.full((1, 16, 16, 3), 0.3).requires_grad_()
        prior.encode(rgb).square().sum().backward()
        gradients.append(rgb.grad)
    torch.testing.assert_close(*gradients)


def test_decode(tiny_sd):
    images = tiny_sd.decode(torch.randn(2, 4, 8, 8))
    assert images.shape == (2, 16, 16, 3) and images.dtype == torch.float32
    assert float(images.min()) >= 0 and float(images.max()) <= 1


def test_denoise_equals_direct_unet_call(tiny_sd):
    z, text = rng.normal((2, 4, 8, 8), 0, "z"), tiny_sd.embed(["a car", "a dog"])
    sigma = tiny_sd.network.scaling.table.sigmas[[100, 700]].float()
    sigma_b = sigma[:, None, None, None]
    with torch.no_grad():
        eps = tiny_sd.network.backbone(
            z / (1 + sigma_b**2).sqrt(), torch.tensor([100.0, 700.0]), text
        ).sample
    torch.testing.assert_close(
        tiny_sd.denoise(z, sigma, text), z - sigma_b * eps, rtol=1e-3, atol=1e-3
    )


def test_v_prediction_from_scheduler(tiny_sd, make_tiny_sd, tmp_path):
    prior = load(make_tiny_sd(tmp_path / "v", "v_prediction"), "cpu")
    assert type(prior.network.scaling) is Velocity and type(tiny_sd.network.scaling) is Epsilon
    z, sigma, text = rng.normal((1, 4, 8, 8), 0, "z"), torch.tensor([2.0]), tiny_sd.embed(["a car"])
    # Same weights and input: D_eps = z − 2·out and D_v = z/5 − 2/√5·out.
    out = (z - tiny_sd.denoise(z, sigma, text)) / 2
    torch.testing.assert_close(
        prior.denoise(z, sigma, text), z / 5 - 2 / 5**0.5 * out, rtol=1e-4, atol=1e-4
    )


def test_tiny_autoencoder_as_vae(tiny_sd_folder, tmp_path):
    from diffusers import AutoencoderTiny

    folder = tmp_path / "taesd"
    shutil.copytree(tiny_sd_folder, folder)
    shutil.rmtree(folder / "vae")
    channels = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    AutoencoderTiny(
        **channels, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)
    ).save_pretrained(folder / "vae")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps(index | {"vae": ["diffusers", "AutoencoderTiny"]})
    )
    prior = load(folder, "cpu")
    assert prior.latent_scale == 1.0 and prior.image_size == 16
    rgb = torch.rand(1, 16, 16, 3, requires_grad=True)
    z = prior.encode(rgb)
    torch.testing.assert_close(z, prior.vae.encode(2 * rgb.permute(0, 3, 1, 2) - 1).latents)
    z.sum().backward()
    assert rgb.grad is not None and prior.decode(z).shape == (1, 16, 16, 3)


def test_half_precision_with_float32_interface(tiny_sd, tiny_sd_folder):
    """The precision used on a GPU, here on the CPU: float16 U-Net, bfloat16 autoencoder."""
    source = components.Source("half", tiny_sd_folder)
    prior = LatentPrior.of(
        components.read(source, torch.device("cpu"), torch.float16, torch.bfloat16)
    )
    assert prior.network.backbone.dtype == torch.float16 and prior.vae.dtype == torch.bfloat16
    rgb = torch.rand(2, 16, 16, 3, generator=rng.generator(0, "pictures"), requires_grad=True)
    z, exact = prior.encode(rgb), tiny_sd.encode(rgb)
    # As small as the gradient of a mean over latents: float16 would flush it to zero. In bfloat16
    # single values can cancel to zero.
    gradient, expected = (
        torch.autograd.grad((latents * 1e-5).mean(), rgb)[0] for latents in (z, exact)
    )
    assert nonzero_share(gradient) > 0.95
    assert float(torch.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0)) > 0.95
    z, exact = z.detach(), exact.detach()
    assert z.dtype == torch.float32 and float((z - exact).norm() / exact.norm()) < 2e-2
    sigma, text = torch.tensor([0.1, 10.0]), prior.embed(["a car", "a dog"])
    noisy = exact + sigma[:, None, None, None] * rng.normal((2, 4, 8, 8), 0, "noise")
    got = prior.denoise(noisy, sigma, text)
    exact = tiny_sd.denoise(noisy, sigma, tiny_sd.embed(["a car", "a dog"]))
    assert got.dtype == torch.float32 and float((got - exact).norm() / exact.norm()) < 5e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_matches_cpu(tiny_sd, tiny_sd_folder):
    prior = load(tiny_sd_folder, "cuda")
    assert prior.device.type == "cuda" and prior.network.backbone.dtype == torch.float16
    rgb = torch.rand(2, 16, 16, 3, generator=rng.generator(0, "pictures"))
    z, text = tiny_sd.encode(rgb), tiny_sd.embed(["a car", "a dog"])
    sigma = torch.tensor([0.1, 10.0])
    torch.testing.assert_close(prior.encode(rgb.cuda()).cpu(), z, rtol=0.05, atol=0.02)
    z = z + sigma[:, None, None, None] * rng.normal((2, 4, 8, 8), 0, "noise")
    got = prior.denoise(z.cuda(), sigma.cuda(), prior.embed(["a car", "a dog"])).cpu()
    torch.testing.assert_close(got, tiny_sd.denoise(z, sigma, text), rtol=0.02, atol=0.05)


def test_fp16_variant_alone_is_loaded(make_tiny_sd, tmp_path):
    folder = make_tiny_sd(tmp_path / "fp16", variant="fp16")
    assert [f.name for f in weight_files(folder / "unet", half=False)] == [
        "diffusion_pytorch_model.fp16.safetensors"
    ]
    assert load(folder, "cpu").network.backbone.dtype == torch.float32


def test_weight_files_prefer_requested_precision(tmp_path):
    names = [
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.non_ema.safetensors",
    ]
    for name in names:
        (tmp_path / name).touch()
    assert weight_files(tmp_path, half=True) == [tmp_path / names[1]]
    assert weight_files(tmp_path, half=False) == [tmp_path / names[0]]
    assert weight_files(tmp_path / "nowhere", half=False) == []


def test_embed_after_free_is_refused(tiny_sd_folder):
    prior = load(tiny_sd_folder, "cpu")
    prior.free_text_encoder()
    with pytest.raises(RuntimeError) as error:
        prior.embed(["a car"])
    assert str(error.value) == (
        "embed: the text encoder was freed by free_text_encoder(); "
        "embed all prompts first, or load the prior again"
    )


def test_missing_xformers_is_refused(tiny_sd_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "xformers", None)
    with pytest.raises(UserError) as error:
        load(tiny_sd_folder, "cpu", attention="xformers")
    assert str(error.value) == (
        "attention xformers: the package xformers is not installed; install it with "
        "`pip install xformers` (it needs the torch version that it was built for), "
        "or set `attention: sdpa` in the config"
    )


def test_inpainting_model_is_refused(tiny_sd_folder, tmp_path):
    folder = tmp_path / "inpaint"
    shutil.copytree(tiny_sd_folder, folder)
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(folder, subfolder="unet")
    shutil.rmtree(folder / "unet")
    UNet2DConditionModel.from_config(config, in_channels=9).save_pretrained(folder / "unet")
    with pytest.raises(UserError) as error:
        load(folder, "cpu")
    assert str(error.value) == (
        f"prior {folder}: expected a network on the 4 channels of its vae at a square size, "
        "got 9 in, 4 out, size 8; use a text-to-image model, not an inpainting or depth model"
    )


def test_loading_is_silent(tiny_sd_folder, capfd, caplog):
    load(tiny_sd_folder, "cpu")
    assert capfd.readouterr() == ("", "") and caplog.text == ""
