"""Model folders that cannot be read: another kind of model, missing and damaged files."""

import json
import shutil

import pytest

from gs3d.priors import load
from gs3d.priors.loading.resolve import resolve
from tests.priors.loading.helpers import WEIGHTS, message


def test_folder_without_model(tmp_path):
    assert message(lambda: resolve(tmp_path)) == (
        f"prior {tmp_path}: not a diffusers model folder (it has no model_index.json); "
        "pass a folder that contains one"
    )


def test_damaged_index(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    line = message(lambda: resolve(tmp_path))
    assert line.startswith(f"prior {tmp_path}: model_index.json cannot be read (")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"unet": None, "_class_name": "StableDiffusion3Pipeline"},
            "a StableDiffusion3Pipeline has no unet or transformer; expected a model like Stable "
            "Diffusion 1.5, 2.1, Stable Diffusion XL, Stable Diffusion 3.5, DeepFloyd IF, "
            "PixArt-Σ, FLUX.1 or MVDream, with one denoising network and its text encoders",
        ),
        (
            {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
            "a StableDiffusionPipeline has no tokenizer_2; ",
        ),
        (
            {
                "text_encoder_2": ["transformers", "T5EncoderModel"],
                "tokenizer_2": ["transformers", "T5Tokenizer"],
            },
            "its text_encoder_2 is a T5EncoderModel; expected CLIPTextModelWithProjection",
        ),
        (
            {"unet": None, "transformer": ["diffusers", "FluxTransformer2DModel"]},
            "a StableDiffusionPipeline has no text_encoder_2, tokenizer_2; ",
        ),
        (
            {"unet": None, "transformer": ["diffusers", "LTXVideoTransformer3DModel"]},
            "its transformer is a LTXVideoTransformer3DModel; expected SD3Transformer2DModel",
        ),
        (
            {"text_encoder": ["transformers", "T5EncoderModel"]},
            "its text_encoder is a T5EncoderModel; expected CLIPTextModel",
        ),
        (
            {"unet": None, "transformer": ["diffusers", "PixArtTransformer2DModel"]},
            "its text_encoder is a CLIPTextModel; expected T5EncoderModel",
        ),
        (
            {"vae": ["diffusers", "VQModel"]},
            "its vae is a VQModel; expected AutoencoderKL or AutoencoderTiny",
        ),
    ],
)
def test_unsupported_models(tiny_sd_folder, tmp_path, change, expected):
    index = json.loads((tiny_sd_folder / "model_index.json").read_text()) | change
    (tmp_path / "model_index.json").write_text(
        json.dumps({k: v for k, v in index.items() if v is not None})
    )
    assert message(lambda: resolve(tmp_path)).startswith(f"prior {tmp_path}: {expected}")


@pytest.mark.parametrize(
    ("part", "file", "expected"),
    [
        (
            "unet",
            "diffusion_pytorch_model.safetensors",
            "its unet has no .safetensors weights; download the model again with its",
        ),
        ("scheduler", "scheduler_config.json", "its scheduler: scheduler_config.json is missing"),
        ("unet", "config.json", "its unet: config.json is missing"),
    ],
)
def test_missing_files(tiny_sd_folder, tmp_path, part, file, expected):
    folder = shutil.copytree(tiny_sd_folder, tmp_path / "broken")
    (folder / part / file).unlink()
    assert message(lambda: load(folder, "cpu")).startswith(f"prior {folder}: {expected}")


def test_damaged_weights(tiny_sd_folder, tmp_path):
    folder = shutil.copytree(tiny_sd_folder, tmp_path / "damaged")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(
        b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense"
    )
    line = message(lambda: load(folder, "cpu"))
    assert f"its unet: {WEIGHTS} is no safetensors file, or cut short" in line
