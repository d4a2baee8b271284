"""Tiny untrained models with several text encoders, saved by diffusers' own pipelines.

Both have images of 16² pixels and latents of 8². All widths differ, so that no two can be mixed up.
"""

import json
from pathlib import Path

import torch

from tests.conftest import SD_BETAS, write_clip_tokenizer

XL_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
SD3_PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
PIECES = ["red", "car", "blue", "dog", "view", "front", "side", "back", "a", "s", "e"]
"""Words of the tokenizer of T5, and letters."""


def write_t5_tokenizer(folder: Path) -> int:
    """Write a T5 tokenizer in one file. Returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    words = [(f"▁{piece}", -2.0) for piece in PIECES] + [(c, -5.0) for c in "abcdefghijklmnop"]
    tokenizer = Tokenizer(models.Unigram([*special, ("▁", -3.0), *words], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "</s>"], special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "extra_ids": 0,
        "additional_special_tokens": [],
        "model_max_length": 512,
        "tokenizer_class": "T5TokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab_size()


def make_clip(folder: Path, cls: type, width: int, pooled: int, changes: dict):
    """(encoder, tokenizer) of a CLIP with `changes` to its configuration."""
    from transformers import CLIPTextConfig, CLIPTokenizer

    size = write_clip_tokenizer(folder)
    config = {
        "vocab_size": size,
        "hidden_size": width,
        "intermediate_size": 32,
        "projection_dim": pooled,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": 0,
    }
    return cls(CLIPTextConfig(**config | changes)).eval(), CLIPTokenizer.from_pretrained(folder)


def make_t5(folder: Path, width: int, changes: dict):
    """(encoder, tokenizer) of a T5 with `changes` to its configuration."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    config = {"vocab_size": write_t5_tokenizer(folder), "d_model": width, "d_kv": 8, "d_ff": 32}
    config |= {"num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
    encoder = T5EncoderModel(T5Config(**config | changes)).eval()
    return encoder, T5TokenizerFast.from_pretrained(folder)


def make_vae(channels: int, changes: dict):
    from diffusers import AutoencoderKL

    config = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": channels,
        "norm_num_groups": 4,
        "sample_size": 16,
    }
    return AutoencoderKL(**config | changes).eval()


def _two_clips(
    folder: Path,
    classes: tuple[type, type],
    pooled: int,
    changes: dict,
    settings: tuple[dict, dict] = ({}, {}),
) -> tuple:
    """Encoder and tokenizer of the first CLIP, 16 wide with `pooled` numbers for the whole text,
    then those of the second, 24 wide with 20."""
    made = []
    sizes = ((16, pooled), (24, 20))
    for cls, size, given, number in zip(classes, sizes, settings, ("", "_2"), strict=True):
        words = folder.with_name(f"{folder.name}_words{number}")
        made += make_clip(words, cls, *size, given | changes.get(f"text_encoder{number}", {}))
    return tuple(made)


def write_tiny_xl(
    folder: Path, zeroes: bool = True, variant: str | None = None, **changes: dict
) -> Path:
    """Write a model of Stable Diffusion XL; `changes` holds other settings of its parts."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    unet = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "cross_attention_dim": 16 + 24,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 20 + 6 * 8,
        "norm_num_groups": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(**unet | changes.get("unet", {})).eval()
        acts = ({"hidden_act": "quick_gelu"}, {"hidden_act": "gelu"})
        classes = (CLIPTextModel, CLIPTextModelWithProjection)
        one, words, two, words_2 = _two_clips(folder, classes, 16, changes, acts)
        vae = make_vae(4, {"scaling_factor": 0.13025} | changes.get("vae", {}))
    words.pad_token = "<|endoftext|>"  # The second tokenizer has another one.
    scheduler = EulerDiscreteScheduler(
        **SD_BETAS | changes.get("scheduler", {}), steps_offset=1, timestep_spacing="leading"
    )
    StableDiffusionXLPipeline(
        vae, one, two, words, words_2, unet, scheduler, None, None, zeroes, add_watermarker=False
    ).save_pretrained(folder, variant=variant)
    return folder


def write_tiny_sd3(
    folder: Path, t5: bool = True, variant: str | None = None, **changes: dict
) -> Path:
    """Write a model of Stable Diffusion 3.5, with or without T5; for `changes` see
    `write_tiny_xl`."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextModelWithProjection

    transformer = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 48,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 12 + 20,
        "pos_embed_max_size": 6,
        "dual_attention_layers": (0,),
        "qk_norm": "rms_norm",
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = SD3Transformer2DModel(**transformer | changes.get("transformer", {})).eval()
        one, words, two, words_2 = _two_clips(
            folder, (CLIPTextModelWithProjection,) * 2, 12, changes
        )
        vae = {"scaling_factor": 1.5305, "shift_factor": 0.0609}
        vae |= {"use_quant_conv": False, "use_post_quant_conv": False}
        vae = make_vae(16, vae | changes.get("vae", {}))
        three = words_3 = None
        if t5:
            place = folder.with_name(f"{folder.name}_words_3")
            three, words_3 = make_t5(place, 48, changes.get("text_encoder_3", {}))
    scheduler = FlowMatchEulerDiscreteScheduler(**{"shift": 3.0} | changes.get("scheduler", {}))
    StableDiffusion3Pipeline(
        backbone, scheduler, vae, one, words, two, words_2, three, words_3
    ).save_pretrained(folder, variant=variant)
    return folder
