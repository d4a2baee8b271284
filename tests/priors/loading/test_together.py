"""Model folders whose parts are incomplete, damaged, or of different models."""

import shutil
from pathlib import Path

import pytest
import torch

from gs3d.priors import load
from gs3d.priors.loading import cache
from gs3d.priors.loading.resolve import resolve
from tests.priors.cache import put_in_cache
from tests.priors.loading.helpers import (
    WEIGHTS,
    edit_config,
    edit_weights,
    message,
    write_tiny_autoencoder,
)

NETWORKS = ("unet", "vae", "text_encoder")


@pytest.fixture
def folder(tiny_sd_folder, tmp_path):
    return shutil.copytree(tiny_sd_folder, tmp_path / "model")


@pytest.mark.parametrize("part", NETWORKS)
def test_missing_weights_are_refused(folder, part):
    edit_weights(folder, part, lambda w: dict(list(w.items())[: len(w) // 2]))
    line = message(lambda: load(folder, "cpu"))
    assert line.startswith(f"prior {folder}: its {part} lacks ")
    assert line.endswith("; download the model again")


@pytest.mark.parametrize("part", NETWORKS)
def test_one_missing_weight_is_named(folder, part):
    name = edit_weights(folder, part, lambda w: dict(list(w.items())[1:]))
    assert f"its {part} lacks the weight {name}" in message(lambda: load(folder, "cpu"))


@pytest.mark.parametrize("part", NETWORKS)
def test_weights_left_over_are_refused(folder, part):
    edit_weights(folder, part, lambda w: w | {"another.weight": torch.zeros(2)})
    assert (
        f"its {part} has weights that its config.json does not describe: "
        "the weight another.weight; "
    ) in message(lambda: load(folder, "cpu"))


def test_weights_of_a_complete_clip_model_may_be_left_over(folder):
    spare = {
        "text_model.embeddings.position_ids": torch.arange(16)[None],
        "text_projection.weight": torch.zeros(16, 16),
        "vision_model.post_layernorm.bias": torch.zeros(16),
        "logit_scale": torch.zeros(()),
    }
    before = load(folder, "cpu").embed(["red"])
    edit_weights(folder, "text_encoder", lambda w: w | spare)
    assert torch.equal(load(folder, "cpu").embed(["red"]), before)


@pytest.mark.parametrize("part", NETWORKS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, part, value):
    def spoil(weights):
        next(iter(weights.values())).view(-1)[0] = value
        return weights

    name = edit_weights(folder, part, spoil)
    line = message(lambda: load(folder, "cpu"))
    assert f"its {part} has NaN or infinite weights as float32 ({name})" in line


def test_missing_tokenizer_is_refused(folder):
    shutil.rmtree(folder / "tokenizer")
    line = message(lambda: load(folder, "cpu"))
    assert "its tokenizer " in line


def test_tokenizer_of_another_model_is_refused(make_tiny_sd, tmp_path):
    folder = make_tiny_sd(tmp_path / "model", text_encoder={"vocab_size": 60})
    line = message(lambda: load(folder, "cpu"))
    assert "its tokenizer numbers words up to 89, but its text_encoder knows 60" in line


def test_text_encoder_that_ignores_the_prompt_is_refused(folder):
    def forget(weights):
        name = next(n for n in weights if n.endswith("token_embedding.weight"))
        return weights | {name: torch.zeros_like(weights[name])}

    edit_weights(folder, "text_encoder", forget)
    line = message(lambda: load(folder, "cpu"))
    assert "its text_encoder gives the same for different prompts (" in line


def test_text_encoder_of_another_model_is_refused(make_tiny_sd, tmp_path):
    folder = make_tiny_sd(tmp_path / "model", text_encoder={"hidden_size": 32})
    assert message(lambda: load(folder, "cpu")) == (
        f"prior {folder}: its text_encoder gives 32 numbers for each token, but its unet takes "
        "16; the two are of different models"
    )


@pytest.mark.parametrize(
    ("changes", "wants"),
    [
        (
            {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 16},
            "a class or an image",
        ),
        ({"num_class_embeds": 5}, "a class"),
        ({"time_cond_proj_dim": 8}, "the guidance scale"),
        ({"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 16}, "an image"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 64,
            },
            "an added condition",
        ),
    ],
)
def test_networks_with_other_conditions_are_refused(make_tiny_sd, tmp_path, changes, wants):
    folder = make_tiny_sd(tmp_path / "model", unet=changes)
    line = message(lambda: load(folder, "cpu"))
    assert f"its unet wants {wants} beside the text" in line


@pytest.mark.parametrize("value", [0.0, float("nan"), "large"])
def test_scaling_factor_out_of_range_is_refused(folder, value):
    edit_config(folder / "vae" / "config.json", scaling_factor=value)
    assert "scaling_factor" in message(lambda: load(folder, "cpu"))


@pytest.mark.parametrize("betas", [{"beta_end": 0.0, "beta_start": 0.0}, {"beta_start": 2.0}])
def test_noise_schedules_that_do_not_rise_are_refused(make_tiny_sd, tmp_path, betas):
    folder = make_tiny_sd(tmp_path / "model", scheduler=betas)
    line = message(lambda: load(folder, "cpu"))
    assert "the noise of its scheduler does not rise with the time" in line


def test_replacement_with_another_factor_is_refused(tiny_sd_folder, tmp_path):
    from diffusers import AutoencoderTiny

    AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    ).save_pretrained(tmp_path / "small")
    line = message(lambda: load(tiny_sd_folder, "cpu", vae=str(tmp_path / "small")))
    assert "its latents are 4 times smaller than images" in line
    same = write_tiny_autoencoder(tmp_path / "same")
    assert load(tiny_sd_folder, "cpu", vae=str(same)).image_size == 16


@pytest.mark.parametrize("variant", ["bf16", "fp32", "fp16"])
def test_all_variants_are_read(make_tiny_sd, tiny_sd, tmp_path, variant):
    prior = load(make_tiny_sd(tmp_path / "model", variant=variant), "cpu")
    assert torch.allclose(prior.embed(["red"]), tiny_sd.embed(["red"]), atol=0.05)


def test_weights_that_are_not_for_inference_are_named(make_tiny_sd, tmp_path):
    folder = make_tiny_sd(tmp_path / "model", variant="non_ema")
    assert "only model.non_ema.safetensors, which gs3d does not read" in message(
        lambda: load(folder, "cpu")
    )


@pytest.mark.parametrize("gone", ["unet/" + WEIGHTS, "tokenizer/vocab.json", "vae/config.json"])
def test_cache_with_a_dangling_link_is_downloaded_again(hub, hub_cache, tiny_sd_folder, gone):
    repo = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    snapshot = Path(put_in_cache(hub_cache, repo, tiny_sd_folder))
    assert resolve("sd15").repo == repo and not hub.requested
    (snapshot / gone).unlink()
    (snapshot / gone).symlink_to("gone")
    assert not cache.is_complete_model(snapshot)
    message(lambda: resolve("sd15"))
    assert hub.requested == [repo]


@pytest.mark.parametrize("layers", [2**31, [1, 10**12]])
def test_more_layers_than_weights_are_refused(folder, layers):
    edit_config(folder / "unet/config.json", layers_per_block=layers)
    line = message(lambda: load(folder, "cpu"))
    assert f"prior {folder}: its unet has " in line and " layers (layers_per_block) in" in line


MANY = 10**5


@pytest.mark.parametrize(
    "changes",
    [
        {"layers_per_block": 100, "transformer_layers_per_block": 100},
        {
            "mid_block_type": None,
            "block_out_channels": [8] * MANY,
            "down_block_types": ["CrossAttnDownBlock2D"] * MANY,
            "up_block_types": ["CrossAttnUpBlock2D"] * MANY,
        },
    ],
    ids=["layers", "blocks"],
)
def test_a_network_far_larger_than_its_weights_is_not_built(folder, changes):
    edit_config(folder / "unet/config.json", **changes)
    line = message(lambda: load(folder, "cpu"))
    assert "its unet becomes far larger by its config.json than its" in line


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("unet", "block_out_channels", [32, 2**40]),
        ("vae", "latent_channels", 2**40),
        ("text_encoder", "vocab_size", 2**40),
    ],
)
def test_a_size_far_above_those_of_the_weights_is_refused(folder, part, key, value):
    edit_config(folder / part / "config.json", **{key: value})
    line = message(lambda: load(folder, "cpu"))
    assert f"its {part} has {key} 1e+12 in its config.json, but the largest size of its" in line
