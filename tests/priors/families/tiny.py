"""Tiny untrained models of PixArt, DeepFloyd IF and FLUX.1, saved by diffusers' own pipelines.

All widths differ, so that no two can be mixed up.
"""

from pathlib import Path

import torch

from tests.priors.tiny import make_clip, make_t5, make_vae

LINEAR_BETAS = {
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "num_train_timesteps": 1000,
}


def write_tiny_pixart(folder: Path, alpha: bool = False, **changes: dict) -> Path:
    """Write a PixArt-Σ of 16² pixels, or a PixArt-α with the latents of 1024², at which it is told
    the size of the image; `changes` holds other settings of the parts."""
    from diffusers import (
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    config = {
        "sample_size": 128 if alpha else 8,
        "patch_size": 8 if alpha else 2,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 2,
        "attention_head_dim": 12,
        "num_attention_heads": 2,
        "cross_attention_dim": 24,
        "caption_channels": 48,
        "attention_bias": True,
        "use_additional_conditions": None if alpha else False,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = PixArtTransformer2DModel(**config | changes.get("transformer", {})).eval()
        words = folder.with_name(f"{folder.name}_words")
        encoder, tokenizer = make_t5(words, 48, changes.get("text_encoder", {}))
        # Attention over the pixels of so large an image would take most of the tests' time.
        options = {"scaling_factor": 0.13025, "mid_block_add_attention": not alpha}
        vae = make_vae(4, options | changes.get("vae", {}))
    scheduler = DPMSolverMultistepScheduler(**LINEAR_BETAS | changes.get("scheduler", {}))
    pipeline = PixArtAlphaPipeline if alpha else PixArtSigmaPipeline
    pipeline(tokenizer, encoder, vae, backbone, scheduler).save_pretrained(folder)
    return folder


def write_tiny_if(folder: Path, **changes: dict) -> Path:
    """Write a stage I of DeepFloyd IF of 16² pixels; for `changes` see `write_tiny_pixart`."""
    from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel

    config = {
        "sample_size": 16,
        "in_channels": 3,
        "out_channels": 6,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        # One number for each of the 32 groups of the norm of the text.
        "cross_attention_dim": 32,
        "encoder_hid_dim": 40,
        "attention_head_dim": 8,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 2,
        "cross_attention_norm": "group_norm",
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
        "norm_num_groups": 8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(**config | changes.get("unet", {})).eval()
        words = folder.with_name(f"{folder.name}_words")
        encoder, tokenizer = make_t5(words, 40, changes.get("text_encoder", {}))
    scheduler = DDPMScheduler(
        **{"beta_schedule": "squaredcos_cap_v2", "variance_type": "learned_range"}
        | changes.get("scheduler", {}),
        clip_sample=False,
    )
    IFPipeline(
        tokenizer, encoder, unet, scheduler, None, None, None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


def write_tiny_flux(folder: Path, dev: bool = True, **changes: dict) -> Path:
    """Write a FLUX.1 dev, or schnell, of 128² pixels; for `changes` see `write_tiny_pixart`."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel

    config = {
        "in_channels": 4 * 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 48,
        "pooled_projection_dim": 20,
        "guidance_embeds": dev,
        "axes_dims_rope": (4, 6, 6),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = FluxTransformer2DModel(**config | changes.get("transformer", {})).eval()
        words = [folder.with_name(f"{folder.name}_words{number}") for number in ("", "_2")]
        clip = make_clip(words[0], CLIPTextModel, 20, 12, changes.get("text_encoder", {}))
        t5 = make_t5(words[1], 48, changes.get("text_encoder_2", {}))
        settings = {"scaling_factor": 0.3611, "shift_factor": 0.1159}
        settings |= {"use_quant_conv": False, "use_post_quant_conv": False}
        vae = make_vae(16, settings | changes.get("vae", {}))
    shift = {"shift": 3.0, "use_dynamic_shifting": True} if dev else {"shift": 1.0}
    scheduler = FlowMatchEulerDiscreteScheduler(**shift | changes.get("scheduler", {}))
    FluxPipeline(scheduler, vae, *clip, *t5, backbone).save_pretrained(folder)
    return folder
