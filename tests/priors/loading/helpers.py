"""Helpers of the tests of loading: error messages, tiny autoencoders, names of hub files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file, save_file

from gs3d.core import rng
from gs3d.core.errors import UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"
FILES = {part: WEIGHTS for part in ("unet", "transformer", "vae")} | {
    part: "model.safetensors" for part in ("text_encoder", "text_encoder_2", "text_encoder_3")
}
"""Part → file of its weights."""
MODEL_FILES = [
    "README.md",
    "model_index.json",
    "v2-base.ckpt",
    "v2-base.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]
"""Files in the repository of a Stable Diffusion model."""


def message(call: Callable[[], object]) -> str:
    """Message of the `UserError` that `call` raises; it must be one line."""
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def not_found(repo: str) -> RepositoryNotFoundError:
    """Error of the hub's client for a repository that does not exist."""
    from types import SimpleNamespace

    response = SimpleNamespace(status_code=404, headers={}, request=None, url=repo)
    return RepositoryNotFoundError(repo, response=response)


def write_tiny_autoencoder(folder: Path, channels: int = 4, levels: int = 2) -> Path:
    """Write an untrained AutoencoderTiny."""
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoencoderTiny(
            latent_channels=channels,
            encoder_block_out_channels=(8,) * levels,
            decoder_block_out_channels=(8,) * levels,
            num_encoder_blocks=(1,) * levels,
            num_decoder_blocks=(1,) * levels,
        ).save_pretrained(folder)
    return folder


def scale_weights(folder: Path) -> None:
    """Multiply all weights of the network in `folder` by 1.1."""
    weights = {name: 1.1 * w for name, w in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def images(size: int = 16) -> torch.Tensor:
    """Two random images [2, size, size, 3] that require a gradient."""
    return torch.rand(2, size, size, 3, generator=rng.generator(0, "pictures"), requires_grad=True)


def gradient(prior) -> torch.Tensor:
    """Gradient of the sum of squared latents on `images`."""
    rgb = images()
    prior.encode(rgb).square().sum().backward()
    return rgb.grad


def edit_weights(folder: Path, part: str, edit) -> str:
    """Apply `edit` to the weights of a part, a dict by name; returns the first name."""
    path = folder / part / FILES[part]
    weights = load_file(path)
    first = sorted(weights)[0]
    save_file(edit(dict(sorted(weights.items()))), path, {"format": "pt"})
    return first


def edit_config(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
